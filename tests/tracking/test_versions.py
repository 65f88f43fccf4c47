from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.contracts.errors import ConfigError, UnavailableError
from components.tracking import versions
from components.tracking.versions import (
    BUNDLE_TAG,
    MAX_DESCRIPTION,
    aliases_of,
    describe,
    ensure_model,
    resolve,
    set_alias,
    set_tags,
    version_info,
    versions_of,
)
from tests.registry.test_fetch import put

pytestmark = pytest.mark.integration


def test_what_is_not_there_is_none(mlflow_uri: str) -> None:
    assert resolve("never-registered", "champion", tracking_uri=mlflow_uri) is None
    assert version_info("never-registered", "1", tracking_uri=mlflow_uri) is None


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UnavailableError, match="cannot reach MLflow"):
        resolve("mer", "champion", tracking_uri="http://127.0.0.1:9")


def test_an_address_that_is_none_is_not_taken_for_an_empty_registry() -> None:
    with pytest.raises(ConfigError, match="not an address of MLflow"):
        resolve("mer", "champion", tracking_uri="localhost:5000")


def test_a_version_is_read_as_it_was_written(tmp_path: Path, mlflow_uri: str) -> None:
    name = "versions-read"
    sha256, done = put(tmp_path, mlflow_uri, name)
    version = version_info(name, done.version, tracking_uri=mlflow_uri)
    assert version is not None
    assert version == resolve(name, "challenger", tracking_uri=mlflow_uri)
    assert version.tags == {BUNDLE_TAG: sha256, "gates.passed": "true"}
    assert (version.bundle_sha256, version.description, version.ready) == (sha256, "# card\n", True)
    assert version.run_id == MlflowClient(mlflow_uri).get_model_version(name, done.version).run_id


def test_a_store_that_is_a_file_is_read_as_mlflow_reads_it(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "versions-of-a-file"
    for seed in range(3):
        put(tmp_path, mlflow_uri, name, seed=seed)
    describe(name, "1", "changed last", tracking_uri=mlflow_uri)
    set_alias(name, "Champion", "1", tracking_uri=mlflow_uri)
    MlflowClient(mlflow_uri).delete_model_version(name, "2")
    questions = [
        *((resolve, alias) for alias in ("Champion", "champion", "challenger", "other", "latest")),
        *((version_info, version) for version in ("1", "01", "2", "3", "x")),
    ]
    read = [question(name, words, tracking_uri=mlflow_uri) for question, words in questions]
    listed = versions_of(name, tracking_uri=mlflow_uri)
    monkeypatch.setattr(versions, "database", lambda uri: None)
    assert versions_of(name, tracking_uri=mlflow_uri) == listed
    assert [version.version for version in listed] == ["1", "3"]
    assert [question(name, words, tracking_uri=mlflow_uri) for question, words in questions] == read
    assert read[0] is not None
    assert read[6] == read[5] == read[0]


def test_every_page_is_read(tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PAGE_ROWS", 2)
    monkeypatch.setattr(versions, "database", lambda uri: None)  # MLflow's own pages
    for name in ("versions-many", "versions-other"):
        for seed in range(3):
            put(tmp_path / name, mlflow_uri, name, seed=seed)
    assert sorted(one.version for one in versions_of("versions-many", tracking_uri=mlflow_uri)) == ["1", "2", "3"]
    everywhere = [(one.name, one.version) for one in versions_of(tracking_uri=mlflow_uri)]
    assert {("versions-many", "3"), ("versions-other", "1")} <= set(everywhere)
    assert len(everywhere) == len(set(everywhere))
    assert versions_of("versions-none", tracking_uri=mlflow_uri) == []


def test_what_is_written_is_there(tmp_path: Path, mlflow_uri: str) -> None:
    name = "versions-write"
    _, done = put(tmp_path, mlflow_uri, name)
    ensure_model(name, description="a second time changes nothing", tracking_uri=mlflow_uri)
    assert "face, voice, words" in MlflowClient(mlflow_uri).get_registered_model(name).description
    set_tags(name, done.version, {"a": "1", "b": "2"}, tracking_uri=mlflow_uri)
    describe(name, done.version, "x" * (MAX_DESCRIPTION + 1), tracking_uri=mlflow_uri)
    set_alias(name, "blue", done.version, tracking_uri=mlflow_uri)
    version = resolve(name, "blue", tracking_uri=mlflow_uri)
    assert version is not None
    assert (version.tags["a"], version.tags["b"]) == ("1", "2")
    assert version.description == "x" * MAX_DESCRIPTION
    assert aliases_of(name, tracking_uri=mlflow_uri)["blue"] == done.version
