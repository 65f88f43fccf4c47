from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.config import Tracking
from components.tracking.address import database, exists, is_server, tracking_uri


def test_the_environment_wins_and_relative_paths_are_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(Tracking(), tmp_path) == f"sqlite:///{tmp_path}/.mer/mlflow.db"
    assert (tmp_path / ".mer").is_dir()
    assert tracking_uri(Tracking(uri="sqlite:////else/where.db"), tmp_path) == "sqlite:////else/where.db"
    assert tracking_uri(Tracking(uri="http://tracking:5000"), tmp_path) == "http://tracking:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:1")
    assert tracking_uri(Tracking(), tmp_path) == "http://other:1"


def test_a_local_database_has_a_file_and_a_server_has_none(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert database(uri) == tmp_path / "mlflow.db"
    assert not exists(uri)
    (tmp_path / "mlflow.db").touch()
    assert exists(uri)
    for other in ("http://tracking:5000", "sqlite:///:memory:"):
        assert database(other) is None
        assert exists(other)
    assert [is_server(one) for one in (uri, "http://a:1", "https://a")] == [False, True, True]
