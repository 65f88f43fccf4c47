"""From inside: a child that may read one folder tries to do more."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from components.contracts.config import MediaLimits
from components.runtime.confinement import available
from components.runtime.guarded import Fields, Guarded, Handler

SERVE = f"{__name__}:serve"


def serve(settings: Fields) -> Handler:
    """What the child of this test does."""
    deeds: dict[str, Callable[[Fields], object]] = {
        "read": lambda request: Path(request["path"]).read_bytes(),
        "list": lambda request: os.listdir(request["path"]),
        "write": lambda request: Path(request["path"]).write_bytes(b"x"),
        "connect": lambda request: socket.create_connection(("127.0.0.1", request["port"])).close(),
        "listen": lambda _: socket.create_server(("127.0.0.1", 0)).close(),
        "import": lambda _: importlib.import_module("colorsys"),
    }

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        try:
            deeds[request["do"]](request)
        except OSError as error:
            return {"ended": type(error).__name__}, None
        return {"ended": "done"}, None

    return handler


@pytest.mark.skipif(not available(), reason="this kernel has no Landlock")
def test_a_confined_child_reads_its_folder_and_does_nothing_else(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "clip").write_bytes(b"clip")
    child = Guarded(SERVE, {}, MediaLimits(), only=(own,))

    def tried(deed: str, **fields: object) -> str:
        return str(child.ask({"do": deed, **fields})[0]["ended"])

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert tried("connect", port=server.getsockname()[1]) == "PermissionError"
    assert tried("read", path=str(own / "clip")) == tried("list", path=str(own)) == tried("import") == "done"
    for deed, path in (
        ("read", other / "clip"),
        ("read", Path("/etc/passwd")),
        ("read", Path(__file__)),
        ("list", Path.home()),
        ("list", tmp_path),
        ("write", own / "clip"),
        ("write", other / "new"),
    ):
        assert (path, tried(deed, path=str(path))) == (path, "PermissionError")
    assert tried("listen") == "PermissionError"
    child.close()
