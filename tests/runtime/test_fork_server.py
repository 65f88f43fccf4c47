from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.runtime.fork_server import Child, ForkServer

SAY = """\
import json, os, sys
line = os.fdopen(os.dup(0), "r+b", buffering=0)
line.write(json.dumps([os.getcwd(), os.environ.get("TOLD"), os.getppid(), "colorsys" in sys.modules]).encode())
"""


def imports(settings: dict[str, Any]) -> None:
    import colorsys  # noqa: F401

    if "file" in settings:
        Path(settings["file"]).touch()
    if "defect" in settings:
        raise ZeroDivisionError


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return ForkServer(__name__)


def told(server: ForkServer, **settings: Any) -> tuple[Any, Child]:
    """What a child sends over its standard input, and the child."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = server.start(SAY, settings, stdin=theirs.fileno())
        return json.loads(ours.recv(4096)), child


def start(server: ForkServer, program: str) -> Child:
    with Path(os.devnull).open() as nothing:
        return server.start(program, {}, stdin=nothing.fileno())


@pytest.mark.parametrize("settings", [{}, {"defect": True}])
def test_a_child_has_the_folder_and_environment_of_its_start_and_the_imports_of_the_server(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLD", "late")
    (folder, variable, parent, imported), child = told(server, **settings)
    assert (folder, variable, imported) == (str(tmp_path), "late", True)
    assert child.wait(10) == 0
    assert told(server)[0][2] == parent


def test_a_child_can_start_in_a_folder_that_was_deleted(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(server)  # the server itself is there
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert told(server)[1].wait(10) == 0


def test_imports_can_be_made_before_the_first_child(tmp_path: Path) -> None:
    server = ForkServer(__name__)
    server.prepare({"file": str(tmp_path / "made")})
    assert told(server)[0][3]
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_a_child_ends_with_its_own_status_and_leaves_no_process(server: ForkServer, program: str, status: int) -> None:
    child = start(server, program)
    assert child.wait(10) == status
    assert child.wait() == status
    assert not psutil.pid_exists(child.pid)


def test_a_child_can_be_ended(server: ForkServer) -> None:
    child = start(server, "import time; time.sleep(600)")
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.05)
    child.terminate()
    assert child.wait(10) == -signal.SIGTERM
    child.kill()  # it has ended


def test_what_a_child_prints_as_an_error_is_the_callers(server: ForkServer, capfd: pytest.CaptureFixture[str]) -> None:
    start(server, "raise ValueError('the cause')").wait(10)
    assert "ValueError: the cause" in capfd.readouterr().err


def test_a_server_that_was_killed_is_replaced(server: ForkServer) -> None:
    (_, _, parent, _), child = told(server)
    child.wait(10)
    os.kill(parent, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(parent)] if psutil.pid_exists(parent) else [], timeout=10)
    assert told(server)[0][2] != parent
