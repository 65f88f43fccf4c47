from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.runtime.children.fork_server import Child, ForkServer

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


# A process of its own, since one with more threads, as pytest's may be, does not fork.
HERE = """\
import json, os, socket, sys, threading
import numpy  # whose arithmetic has a thread per core until it is limited
import wave
from components.runtime.children.fork_server import ForkServer

BARE, THREADED = sys.argv[1] == "bare", sys.argv[1] == "threaded"
open_file = open(__file__)
if THREADED:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
server = ForkServer("tests.runtime.children.test_fork_server", bare=BARE)
server.prepare_here({})
SAY = '''
import numpy, os, sys, json
from threadpoolctl import threadpool_info
os.write(0, json.dumps({
    "server": os.getppid(), "imported": ["wave" in sys.modules, "colorsys" in sys.modules],
    "files": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "threads": [pool["num_threads"] for pool in threadpool_info()],
}).encode())
'''
ours, theirs = socket.socketpair()
child = server.start(SAY, {}, stdin=theirs.fileno())
said = json.loads(ours.recv(65536))
said["status"] = child.wait(10)
print(json.dumps({**said, "me": os.getpid()}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["plain", "threaded", "bare"])
def test_a_process_that_may_fork_is_its_own_server(tmp_path: Path, kind: str) -> None:
    script = tmp_path / "here.py"
    script.write_text(HERE)
    process = subprocess.Popen(
        [sys.executable, script, kind],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    server = psutil.Process(said["server"])
    assert (server.ppid(), said["status"]) == (said["me"], 0)
    # "wave" is imported by nobody but the process that was to be forked.
    assert said["imported"] == [kind == "plain", True]
    assert set(said["threads"]) == {1}
    if kind == "plain":
        assert len(said["files"]) <= 4, "what the process had opened is open in its children"
    process.kill()  # not a moment to say anything
    process.communicate()
    assert psutil.wait_procs([server], timeout=10)[0]
