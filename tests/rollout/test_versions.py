from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import UnavailableError
from components.rollout.versions import AT, EVIDENCE, REASON, STATE, MlflowVersions, evidence_of, stands_refused
from tests.rollout.registry import TinyRegistry

pytestmark = pytest.mark.integration


@pytest.fixture
def registry(mlflow_uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> TinyRegistry:
    (tmp_path / "registry").mkdir()
    (tmp_path / "bundle").mkdir()
    return TinyRegistry(mlflow_uri, request.node.name, tmp_path / "registry")


def versions_of(registry: TinyRegistry) -> MlflowVersions:
    return MlflowVersions(model_name=registry.name, alias="champion", tracking_uri=registry.uri)


def test_desired_follows_the_alias(registry: TinyRegistry, tmp_path: Path) -> None:
    versions = versions_of(registry)
    assert versions.desired() is None
    assert versions.marked() == []
    number = registry.add(tmp_path / "bundle", "a" * 64)
    assert versions.desired() is None
    registry.promote(number)
    desired = versions.desired()
    assert desired is not None
    assert (desired.version, desired.bundle_sha256) == (number, "a" * 64)


def test_marks_are_written_once_and_read_back_newest_first(registry: TinyRegistry, tmp_path: Path) -> None:
    versions = versions_of(registry)
    numbers = [registry.add(tmp_path / "bundle", digit * 64) for digit in "ab"]
    for number in numbers:
        registry.promote(number)
        desired = versions.desired()
        assert desired is not None
        versions.mark(desired, "serving", "because")
    assert [info.version for info in versions.marked()] == numbers[::-1]
    before = registry.tags(numbers[1])
    assert (before[STATE], before[REASON]) == ("serving", "because")
    again = versions.desired()
    assert again is not None
    versions.mark(again, "serving", "because")
    assert registry.tags(numbers[1])[AT] == before[AT]
    versions.mark(again, "refused", "x" * 9000)
    assert len(registry.tags(numbers[1])[REASON]) == 500
    assert [info.version for info in versions.marked()] == numbers[:1]


def test_a_refusal_is_bound_to_what_was_refused(registry: TinyRegistry, tmp_path: Path) -> None:
    versions = versions_of(registry)
    number = registry.add(tmp_path / "bundle", "a" * 64)
    registry.promote(number)
    desired = versions.desired()
    assert desired is not None
    versions.mark(desired, "refused", "gates")
    refused = versions.desired()
    assert refused is not None
    assert stands_refused(refused)
    assert refused.tags[EVIDENCE] == evidence_of(desired) == evidence_of(refused)
    registry.client.set_model_version_tag(registry.name, number, "gates.passed", "really")
    changed = versions.desired()
    assert changed is not None
    assert not stands_refused(changed)


def test_an_unreachable_registry_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    versions = MlflowVersions(model_name="x", alias="champion", tracking_uri="http://127.0.0.1:9")
    for method in (versions.desired, versions.marked):
        with pytest.raises(UnavailableError):
            method()
