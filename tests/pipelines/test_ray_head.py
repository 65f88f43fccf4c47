from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

from components.contracts.config import RayResources
from components.contracts.errors import UnavailableError
from components.runtime.cluster import ADDRESS_VARIABLE, IDLE, LOOPBACK
from pipelines.ray_head import PREFIX, TOKEN_VARIABLE, _parent, ray_head


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
    for base in (str(long), "/tmp/mer-serve-abcd_012"):
        monkeypatch.setattr("tempfile.tempdir", base)
        socket = _parent() / f"{PREFIX}abcd_012/session_2026-11-29_20-39-33_947505_4194304/sockets/plasma_store"
        assert len(str(socket)) < 107
    assert str(_parent()) == base


def test_a_ray_that_does_not_start_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []

    def late(*, address: str, _temp_dir: str, **_: object) -> None:
        assert (address, TOKEN_VARIABLE in os.environ, Path(_temp_dir).is_dir()) == ("local", True, True)
        folders.append(Path(_temp_dir))
        raise Exception("The current node timed out during startup.")

    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    for name, value in (IDLE | LOOPBACK).items():  # they stay in the environment of a process that ever started a Ray
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ray, "init", late)
    # The session's own Ray is not this test's to end.
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    before = dict(os.environ)
    with (
        pytest.raises(UnavailableError, match=r"Ray did not start.*timed out during startup"),
        ray_head(RayResources()),
    ):
        pytest.fail("it did not start")
    assert dict(os.environ) == before
    assert not folders[0].exists()
