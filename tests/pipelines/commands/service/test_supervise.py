from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from components.contracts.errors import UnavailableError
from pipelines.commands.service import supervise
from pipelines.commands.service.mlflow_server import MlflowServer
from pipelines.commands.service.supervise import RayEndedError, Watch, how, start_everything_again, watch_serve


def test_an_mlflow_server_that_is_killed_is_named_and_started_again(tmp_path: Path) -> None:
    waits = [sys.executable, "-S", "-c", "import time; print('ready', flush=True); time.sleep(600)"]
    server = MlflowServer(waits, address="http://127.0.0.1:9", log=tmp_path / "log", variables={})
    said: list[str] = []
    watch = Watch(report=said.append, mlflow=server)
    server.start()
    watch.look()
    assert said == []
    assert server._process is not None
    first = server._process.pid
    os.kill(first, signal.SIGKILL)
    while server.status() is None:
        time.sleep(0.005)
    watch.look()
    assert said == [f"the MLflow server ended (signal SIGKILL); starting it again. Its log is {tmp_path / 'log'}."]
    assert server.status() is None
    assert server._process.pid != first
    server.end()
    assert server.status() is not None


def test_what_serve_starts_again_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "LOOK_S", 0.0)
    said: list[str] = []
    stop = threading.Event()
    first, second = {"1": "the HTTP proxy"}, {"2": "the HTTP proxy"}
    reports = iter([{}, first, {}, first, second, second])

    def parts() -> dict[str, str]:
        report = next(reports, None)
        if report is None:
            stop.set()
        return report or {}

    watch_serve(parts, said.append, stop)
    assert said == ["the HTTP proxy ended; Ray Serve starts it again"]


def test_ray_cannot_be_without_its_vital_processes() -> None:
    said: list[str] = []
    ended = {"log_monitor": 1}
    watch = Watch(report=said.append, ray=lambda: ended)
    watch.look()
    watch.look()
    assert said == ["log_monitor of Ray ended (exit status 1); the service does not need it"]
    assert not watch.ray_ended
    ended["raylet"] = -9
    with pytest.raises(RayEndedError, match=r"raylet of Ray ended \(signal SIGKILL\)"):
        watch.look()
    assert watch.ray_ended


def test_everything_is_started_again_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(supervise, "end_children", lambda: None)  # of the tests
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append([program, *command]))
    monkeypatch.setenv(supervise.RESTARTED, f"{time.time() - 2 * supervise.WITHIN_S}")
    for _ in range(supervise.RESTARTS):
        start_everything_again("raylet of Ray ended")
    assert commands == [[sys.executable, sys.executable, *sys.orig_argv[1:]]] * supervise.RESTARTS
    with pytest.raises(UnavailableError, match="Ray ends again and again") as refused:
        start_everything_again("raylet of Ray ended")
    assert "raylet of Ray ended, 4 times" in str(refused.value.seen)


def test_an_exit_status_in_words() -> None:
    assert (how(-9), how(3)) == ("signal SIGKILL", "exit status 3")
