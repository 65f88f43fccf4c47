"""The gateway in front of small applications, over real sockets; with Ray Serve behind it in `tests/rollout`."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import pickle
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from components.contracts.config import MediaLimits, Serving
from components.serving.answers.schemas import Problem
from components.serving.http import gateway
from components.serving.http.body import AHEAD_BYTES, BLOCK_BYTES, Body
from components.serving.http.gateway import VARIABLE, Gateway, environment, middlewares
from components.serving.http.observed import LOG_VARIABLE

LARGE = os.urandom(3_000_000)


async def digest(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it received; takes a body as Serve does, as fast as it is given."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    names = b",".join(sorted(name for name, _ in scope["headers"]))
    await answer(send, 200, b"%d %s %s" % (len(body), hashlib.sha256(body).hexdigest().encode(), names))


async def answer(send: Any, status: int, body: bytes, kind: bytes = b"text/plain") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body[:3], "more_body": True})
    await send({"type": "http.response.body", "body": body[3:]})


@contextmanager
def served(app: Callable[..., Awaitable[None]] = digest, **settings: Any) -> Iterator[str]:
    """Runs an application behind the gateway; yields its address."""
    config = uvicorn.Config(Gateway(app, Serving(**settings)), port=0, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        worker.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            worker.join()


def sender(url: str, body: bytes = b"", *, length: int = 1_000_000) -> socket.socket:
    """A client that has sent its headers and the beginning of its body."""
    line = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    line.sendall(f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + body)
    return line


def answered(line: socket.socket) -> tuple[int, Problem]:
    with line, line.makefile("rb") as reader:
        head, _, body = reader.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), Problem.model_validate_json(body)


def test_a_body_arrives_whole_and_in_pieces() -> None:
    async def blocks() -> Any:
        for start in range(0, len(LARGE), 70_001):
            yield LARGE[start : start + 70_001]

    async def chunked(url: str) -> str:
        async with httpx.AsyncClient() as client:
            return (await client.post(url, content=blocks())).text

    with served() as url:
        for body in (b"", b"x", LARGE):
            expected = f"{len(body)} {hashlib.sha256(body).hexdigest()} "
            assert httpx.post(url, content=body).text.startswith(expected)
        assert asyncio.run(chunked(url)).startswith(expected)
        assert httpx.get(url).text.startswith("0 ")


def test_a_client_does_not_set_the_time_limits_of_serve() -> None:
    with served() as url:
        headers = {"X-Request-Timeout-Seconds": "0", "x-request-disconnect-disabled": "1", "x-mine": "1"}
        names = httpx.get(url, headers=headers).text.split()[-1].split(",")
    assert "x-mine" in names
    assert not [name for name in names if name.startswith("x-request")]


def test_a_slow_sender_is_refused_and_holds_nobody_up() -> None:
    limits = {"upload_grace_s": 0.2, "upload_rate_bytes_per_s": 1_000_000}
    with served(**limits) as url:
        slow = [sender(url, b"x" * 100) for _ in range(20)]
        assert httpx.post(url, content=LARGE).status_code == 200
        for line in slow:
            status, problem = answered(line)
            assert (status, problem.error.code) == (408, "slow-upload")
            assert "100 bytes in" in str(problem.error.seen)


def test_the_slowest_makes_room_where_all_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    receiving: list[Body] = []
    monkeypatch.setattr(gateway.Gateway, "_receiving", property(lambda _: receiving, lambda *_: None), raising=False)

    def arrived(*sizes: int) -> None:
        while sorted(body.size for body in receiving) != sorted(sizes):
            time.sleep(0.005)

    with served(max_uploads=2) as url, sender(url, b"x" * 5000), sender(url, b"x") as slow:
        arrived(1, 5000)
        response = httpx.post(url, content=b"x")
        assert (response.status_code, response.headers["retry-after"]) == (429, "5")
        monkeypatch.setattr(gateway, "SETTLED_S", 0.0)
        assert httpx.post(url, content=b"x").status_code == 200
        status, problem = answered(slow)
        assert (status, problem.error.code) == (429, "too-many")
        arrived(5000)


def test_a_body_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.serving.http.gateway.largest_body", lambda clip: clip)
    with served(upload_limits=MediaLimits(max_bytes=100_000)) as url:
        response = httpx.post(url, content=b"x" * 190_000)
        assert (response.status_code, Problem.model_validate(response.json()).error.code) == (413, "too-large")
        assert response.headers["connection"] == "close"


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    with served() as url:
        response = httpx.post(url, content=b"x")
    assert (response.status_code, Problem.model_validate(response.json()).error.code) == (507, "no-room")
    assert response.headers["retry-after"]


def test_what_serve_says_has_the_form_of_a_problem() -> None:
    async def said(scope: Any, receive: Any, send: Any) -> None:
        status = int(scope["path"][1:])
        await answer(send, status, b"Request dropped", b"application/json" if status == 422 else b"text/plain")

    with served(said) as url:
        for status, code, later in (
            (408, "busy", "5"),
            (503, "unavailable", "5"),
            (500, "internal", None),
            (404, "http", None),
        ):
            response = httpx.get(f"{url}/{status}")
            assert (response.status_code, response.headers.get("retry-after")) == (status, later)
            error = Problem.model_validate(response.json()).error
            assert (error.code, error.where) == (code, f"GET /{status}")
        assert httpx.get(f"{url}/422").text == "Request dropped"
        assert httpx.get(f"{url}/200").text == "Request dropped"


def test_a_request_whose_replica_died_is_given_to_another_once() -> None:
    bodies: list[bytes] = []

    async def dying(scope: Any, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])
        if scope["path"] == "/again" and len(bodies) == 2:
            await answer(send, 200, b"done")

    with served(dying) as url:
        assert httpx.post(f"{url}/again", content=b"clip").text == "done"
        assert bodies == [b"clip", b"clip"]
        response = httpx.post(f"{url}/dead", content=b"clip")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert Problem.model_validate(response.json()).error.code == "unavailable"
    assert len(bodies) == 4


def test_a_body_is_handed_on_no_faster_than_it_is_fetched() -> None:
    held: list[bytes] = []

    async def run() -> None:
        async def hoarding(scope: Any, receive: Any, send: Any) -> None:
            while True:
                held.append((await receive())["body"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"x" * (4 * AHEAD_BYTES), "more_body": False}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"9")]}
        task = asyncio.create_task(Gateway(hoarding, Serving())(scope, receive, receive))
        while sum(map(len, held)) < AHEAD_BYTES:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        assert sum(map(len, held)) == AHEAD_BYTES
        assert type(pickle.loads(pickle.dumps(held[0]))) is bytes
        del held[:4]
        while len(held) < AHEAD_BYTES // BLOCK_BYTES:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())


def test_the_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "logs" / "requests.jsonl"))
    plain = middlewares()[0]
    assert (plain.cls, plain.kwargs["serving"]) == (Gateway, Serving())
    for name, value in environment(Serving(max_uploads=3), counts=tmp_path, keys=tmp_path).items():
        monkeypatch.setenv(name, value)
    own = middlewares()[0]
    assert own.kwargs["serving"].max_uploads == 3
