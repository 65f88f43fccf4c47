from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from components.contracts.errors import UnavailableError
from pipelines.commands.service import supervise
from pipelines.commands.service.mlflow_server import MlflowServer
from pipelines.commands.service.supervise import (
    RayEndedError,
    Watch,
    bury,
    how,
    nothing_left,
    start_everything_again,
    watch_serve,
)


def test_an_mlflow_server_that_is_killed_is_named_and_started_again(tmp_path: Path) -> None:
    waits = [sys.executable, "-S", "-c", "import time; print('ready', flush=True); time.sleep(600)"]
    server = MlflowServer(waits, address="http://127.0.0.1:9", log=tmp_path / "log")
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


@pytest.mark.skipif(sys.platform != "linux", reason="an orphan is adopted by prctl")
def test_no_orphan_and_no_temporary_file_is_left_whatever_ends_the_service() -> None:
    before, handler = tempfile.gettempdir(), signal.getsignal(signal.SIGINT)
    orphans: list[psutil.Process] = []
    folders: list[Path] = []

    def interrupted() -> None:
        folders.append(Path(tempfile.mkdtemp()))
        program = 'sleep 600 >/dev/null 2>&1 & echo $!; echo "$TMPDIR"'  # it ends, and what it started goes on
        shown = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True).stdout.split()
        orphans.append(psutil.Process(int(shown[0])))
        assert Path(shown[1]) == folders[0].parent != Path(before)
        assert orphans[0].ppid() == os.getpid()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), nothing_left():
        interrupted()
    assert not orphans[0].is_running()
    assert not folders[0].parent.exists()
    assert tempfile.gettempdir() == before
    assert signal.getsignal(signal.SIGINT) is handler


def test_dead_orphans_are_buried_and_those_that_somebody_waits_for_are_not() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as child:
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        dead = bury(())
        assert child.pid in dead
        assert child.wait() == 0  # it was not taken
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as child:
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert child.pid not in bury(bury(()))
        assert not psutil.pid_exists(child.pid)


def test_an_exit_status_in_words() -> None:
    assert (how(-9), how(3)) == ("signal SIGKILL", "exit status 3")
