from __future__ import annotations

import os
from pathlib import Path

import mlflow
import pytest

from components.contracts.config import Tracking
from components.contracts.errors import ConfigError, UnavailableError
from components.tracking.client import Client, check_reachable, default_store, impatient, without_progress_bars
from components.tracking.errors import NotInMlflowError

pytestmark = pytest.mark.integration


def test_the_default_store_is_put_back(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri()
    with default_store(mlflow_uri):
        assert mlflow.get_tracking_uri() == mlflow_uri
    assert mlflow.get_tracking_uri() == before
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_client_answers_as_mlflow_does_and_fails_as_the_project_does(mlflow_uri: str) -> None:
    client = Client(mlflow_uri)
    assert client.get_experiment_by_name("never-made") is None
    with pytest.raises(NotInMlflowError) as caught:
        client.get_run("0" * 32)
    assert caught.value.where == mlflow_uri
    with pytest.raises(AttributeError):
        client.no_such_method()


def test_a_store_that_cannot_be_opened_is_said_when_the_client_is_made_or_asked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot reach MLflow"):
        Client(f"sqlite:///{tmp_path / 'file' / 'x.db'}").search_registered_models()


def test_a_server_that_is_away_is_said_before_anything_is_asked_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before = dict(os.environ)
    with pytest.raises(UnavailableError, match="cannot reach MLflow") as refused:
        check_reachable(Tracking(), tmp_path)
    assert (refused.value.where, refused.value.exit_code) == ("http://127.0.0.1:9", 7)
    assert dict(os.environ) == before
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "127.0.0.1:9")
    with pytest.raises(ConfigError, match="not an address of MLflow"):
        check_reachable(Tracking(), tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    check_reachable(Tracking(), tmp_path)
    assert not list(tmp_path.rglob("*.db"))


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
    )
    for name in names:
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    impatient()
    without_progress_bars()
    assert [os.environ[name] for name in names] == ["false", "2", "7"]
