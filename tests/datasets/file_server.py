"""A real HTTP server on loopback that knows ranges, and can be told to misbehave."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Files:
    """What the server has and does; `asked` is every request: (path, its Range header)."""

    content: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    ranges: bool = True
    tagged: bool = True
    cut_after: list[int] = field(default_factory=list)  # one a request: the line is cut after so many bytes
    refuse: list[int] = field(default_factory=list)  # one a request: this status instead of the file
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@contextmanager
def serving(files: Files) -> Iterator[Files]:
    """The files on a free port of 127.0.0.1, as `files.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked = self.headers.get("Range")
            files.asked.append((path, asked))
            if files.refuse:
                return self.status(files.refuse.pop(0))
            if path not in files.content:
                return self.status(404)
            body = files.content[path]
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            first = 0
            same = self.headers.get("If-Range", tag) == tag
            if files.ranges and asked is not None and same:
                first = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1))  # type: ignore[union-attr]
                if first >= len(body):
                    return self.status(416)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if files.tagged:
                self.send_header("ETag", tag)
            for name, value in files.headers.get(path, {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            if self.command == "HEAD":
                return None
            rest = body[first:]
            cut = files.cut_after.pop(0) if files.cut_after else None
            files.sent += len(rest[:cut])
            self.wfile.write(rest[:cut])
            self.close_connection = cut is not None

        def status(self, code: int) -> None:
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    files.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
