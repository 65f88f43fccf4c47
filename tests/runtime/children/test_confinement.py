"""From inside: a child that may read one folder tries to do more."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components.contracts.config import MediaLimits
from components.runtime.children import confinement
from components.runtime.children.guarded import Fields, Guarded, Handler

SERVE = f"{__name__}:serve"


PTRACE_ATTACH = 16  # ptrace(2)


def serve(settings: Fields) -> Handler:
    """What the child of this test does. Before it is confined it has left the network, but may open sockets."""
    devices = [name for _, name in socket.if_nameindex()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        at_first = ended(lambda: packets.sendto(b"x", ("127.0.0.1", settings["port"]))) if "port" in settings else ""
    deeds: dict[str, Callable[[Fields], object]] = {
        "read": lambda request: Path(request["path"]).read_bytes(),
        "list": lambda request: os.listdir(request["path"]),
        "write": lambda request: Path(request["path"]).write_bytes(b"x"),
        "connect": lambda request: socket.create_connection(("127.0.0.1", request["port"])).close(),
        "listen": lambda _: socket.create_server(("127.0.0.1", 0)).close(),
        "udp": lambda request: _sent(request["port"]),
        "unix": lambda request: socket.socket(socket.AF_UNIX).connect(request["path"]),
        "pair": lambda _: socket.socketpair(),
        "signal": lambda request: os.kill(request["pid"], 0),
        "own signal": lambda _: os.kill(os.getpid(), 0),
        "trace": lambda request: _called("ptrace", PTRACE_ATTACH, request["pid"], 0, 0),
        "traced": lambda _: _called("ptrace", 0, 0, 0, 0),
        "namespace": lambda _: _called("unshare", confinement.CLONE_NEWUSER),
        "start": lambda _: subprocess.run([sys.executable, "-c", ""], check=True),
        "thread": lambda _: threading.Thread(target=int).start(),
        "import": lambda _: importlib.import_module("colorsys"),
    }

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        if request["do"] == "first":
            return {"ended": at_first, "devices": devices}, None
        return {"ended": ended(lambda: deeds[request["do"]](request))}, None

    return handler


def ended(deed: Callable[[], object]) -> str:
    try:
        deed()
    except OSError as error:
        return type(error).__name__ if isinstance(error, PermissionError) else error.strerror
    return "done"


def _sent(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.sendto(b"x", ("127.0.0.1", port))


def _called(name: str, *arguments: int) -> None:
    """A system call by the C library."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def test_a_confined_child_reads_its_folder_and_does_nothing_else(tmp_path: Path) -> None:
    if lacks := confinement.lacking():
        pytest.skip("; ".join(lacks))
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "clip").write_bytes(b"clip")
    child = Guarded(SERVE, {}, MediaLimits(), only=(own,))

    def tried(deed: str, **fields: object) -> str:
        return str(child.ask({"do": deed, **fields})[0]["ended"])

    address = own / "socket"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets,
        socket.socket(socket.AF_UNIX) as local,
    ):
        packets.bind(("127.0.0.1", 0))
        local.bind(str(address))
        local.listen()
        assert tried("connect", port=server.getsockname()[1]) == "PermissionError"
        assert tried("udp", port=packets.getsockname()[1]) == "PermissionError"
        assert tried("unix", path=str(address)) == "PermissionError"
    for deed in ("listen", "pair", "traced", "namespace", "start"):
        assert (deed, tried(deed)) == (deed, "PermissionError")
    for deed in ("signal", "trace"):
        assert (deed, tried(deed, pid=os.getpid())) == (deed, "PermissionError")
    assert {tried("read", path=str(own / "clip")), tried("list", path=str(own))} == {"done"}
    assert {tried(deed) for deed in ("import", "thread", "own signal")} == {"done"}
    for deed, path in (
        ("read", other / "clip"),
        ("read", Path("/etc/passwd")),
        ("read", Path(f"/proc/{os.getpid()}/environ")),
        ("read", Path(__file__)),
        ("list", Path.home()),
        ("list", tmp_path),
        ("write", own / "clip"),
        ("write", other / "new"),
    ):
        assert (path, tried(deed, path=str(path))) == (path, "PermissionError")
    child.close()


def test_it_leaves_the_network_before_it_is_confined(tmp_path: Path) -> None:
    """Where there is no filter, this alone keeps packets in."""
    lacks = confinement.lacking()
    if {confinement.NO_NETWORK, confinement.OPEN_NETWORK} & set(lacks):
        pytest.skip("; ".join(lacks))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.bind(("127.0.0.1", 0))
        child = Guarded(SERVE, {"port": packets.getsockname()[1]}, MediaLimits(), only=(tmp_path,))
        first = child.ask({"do": "first"})[0]
        child.close()
    assert first == {"ended": "Network is unreachable", "devices": ["lo"]}


def test_a_confined_child_still_ends_by_its_alarms_and_its_parent(tmp_path: Path) -> None:
    child = Guarded(SERVE, {}, MediaLimits(), only=(tmp_path,))
    child.wait()
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert child.ask({"do": "import"})[0] == {"ended": "done"}  # in a new one
    assert child.pid != pid
    child.close()


def test_what_is_lacking_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without libseccomp: the library for Python raises when it is imported."""
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')\n")
    before = confinement.lacking()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    after = confinement.lacking()
    assert confinement.NO_FILTER in after
    assert {lack for lack in before if "network" not in lack} <= set(after)
