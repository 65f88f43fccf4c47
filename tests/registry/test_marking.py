from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.contracts.errors import UnavailableError
from components.contracts.lineage import STARTED_TAG
from components.registry.marking import (
    AT_TAG,
    SPLITS_TAG,
    SUBJECTS_TAG,
    _affected,
    _with_started,
    mark,
    search,
)
from components.registry.subjects import SUBJECTS, list_subjects
from components.tracking.client import Client
from components.tracking.runs import Run
from components.tracking.versions import BUNDLE_TAG, MAX_DESCRIPTION, VersionInfo
from tests.registry.test_fetch import put

pytestmark = pytest.mark.integration

FIRST, SECOND = date(2026, 3, 1), date(2026, 4, 1)


def with_people(tmp_path: Path, uri: str, name: str, *, seed: int, people: dict[str, str]) -> str:
    """Registers a version made with these people (subject id → split); returns its number."""
    _, done = put(tmp_path, uri, name, seed=seed)
    run_id = MlflowClient(uri).get_model_version(name, done.version).run_id
    rows = [{"subject_id": f"{name}/{who}", "split": split} for who, split in people.items()]
    Run(Client(uri), run_id).json(list_subjects(rows, salt=f"{seed}"), SUBJECTS)
    return done.version


def test_exactly_the_versions_made_with_a_person_are_marked_once(tmp_path: Path, mlflow_uri: str) -> None:
    name, client = "marking", MlflowClient(mlflow_uri)
    old = with_people(tmp_path, mlflow_uri, name, seed=0, people={"ann": "train", "bo": "test"})
    other = with_people(tmp_path, mlflow_uri, name, seed=1, people={"bo": "train", "cy": "test"})
    _, unlisted = put(tmp_path, mlflow_uri, name, seed=2)

    result = search({"marking/ann"}, tracking_uri=mlflow_uri)
    assert [(entry.name, entry.version, entry.marked) for entry in result.affected] == [(name, old, False)]
    assert f"{name} {unlisted.version}" in result.unlisted
    mark(result.affected[0], day=FIRST, tracking_uri=mlflow_uri)
    version = client.get_model_version(name, old)
    assert version.tags[AT_TAG] == "2026-03-01"
    assert version.tags[SPLITS_TAG] == "train"
    assert version.description.startswith("> **Withdrawn:** 1 of the people")
    assert version.description.endswith("\n\n# card\n")
    assert "ann" not in str(version.tags) + version.description
    assert SUBJECTS_TAG not in client.get_model_version(name, other).tags

    [again] = search({"marking/ann"}, tracking_uri=mlflow_uri).affected
    assert again.marked
    mark(again, day=SECOND, tracking_uri=mlflow_uri)
    assert dict(client.get_model_version(name, old).tags) == dict(version.tags)

    for affected in search({"marking/bo"}, tracking_uri=mlflow_uri).affected:
        mark(affected, day=SECOND, tracking_uri=mlflow_uri)
    version = client.get_model_version(name, old)
    assert len(version.tags[SUBJECTS_TAG].split(",")) == 2
    assert (version.tags[SPLITS_TAG], version.tags[AT_TAG]) == ("test,train", "2026-04-01")
    assert version.description.count("Withdrawn") == 1
    assert version.description.startswith("> **Withdrawn:** 2 of the people")
    assert client.get_model_version(name, other).tags[SPLITS_TAG] == "train"


def test_a_full_card_is_cut_for_the_line(tmp_path: Path, mlflow_uri: str) -> None:
    version = with_people(tmp_path, mlflow_uri, "marking-long", seed=0, people={"ann": "train"})
    client = MlflowClient(mlflow_uri)
    client.update_model_version("marking-long", version, "x" * MAX_DESCRIPTION)
    [affected] = search({"marking-long/ann"}, tracking_uri=mlflow_uri).affected
    mark(affected, day=FIRST, tracking_uri=mlflow_uri)
    text = client.get_model_version("marking-long", version).description
    assert text.startswith("> **Withdrawn:**")
    assert len(text) == MAX_DESCRIPTION


def test_an_unreachable_registry_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot reach MLflow"):
        search({"a"}, tracking_uri=f"sqlite:///{tmp_path / 'file' / 'x.db'}")


def test_what_started_from_an_affected_version_is_affected_too() -> None:
    def version(number: str, started: str | None) -> VersionInfo:
        tags = {BUNDLE_TAG: f"b{number}", **({} if started is None else {STARTED_TAG: started})}
        return VersionInfo(name="mer", version=number, tags=tags, source="")

    versions = [version("1", None), version("2", "b1"), version("3", "b2"), version("4", "elsewhere")]
    first = _affected(versions[0], {"abc": ("train",)})
    assert [entry.version for entry in _with_started([first], versions)] == ["1", "2", "3"]
    assert all(entry.people == first.people for entry in _with_started([first], versions))
    assert _with_started([], versions) == []
