from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.contracts.config import RayResources
from pipelines.ray_head import ADDRESS_VARIABLE, TOKEN_VARIABLE, _folder, ray_head


def test_a_cluster_that_is_there_is_used_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, "10.0.0.1:6379")
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with ray_head(RayResources()) as address:
        assert address == "10.0.0.1:6379"
        assert TOKEN_VARIABLE not in os.environ
    assert os.environ[ADDRESS_VARIABLE] == "10.0.0.1:6379"


def test_the_folder_is_short_enough_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = _folder()
    assert len(str(folder)) < 40
    folder.rmdir()
