"""The gateway: what every HTTP request passes before Ray Serve sees it. A middleware of Serve's proxies; no Ray here.

Serve gives a request to a replica with its first byte and keeps the body in memory until the replica fetches it, so a
client that sends slowly would hold a place of the service, and one that sends much its memory. Here a body is received
first, on disk, under a minimum rate and a total time, and handed on in pieces, each when the one before has been
fetched. Whatever Serve itself has to say (no replica, a full queue, a time-out, a replica that died) becomes a
`Problem`; a request whose replica died before it answered is given to another once.

Serve loads it from `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` and calls `middlewares` in each proxy; `environment`
returns the variables that Ray must start with.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.contracts.codes import Code
from components.contracts.config import Serving
from components.contracts.errors import MerError, UnavailableError
from components.contracts.layout import Layout
from components.contracts.room import full_disk_named
from components.serving.answers.schemas import Problem, ProblemDetail
from components.serving.http.access import Access
from components.serving.http.api_keys import FILE_VARIABLE, KeyFile
from components.serving.http.body import Body, GoneError, too_many
from components.serving.http.observed import BATCH, KEY, METRICS, STREAM, Observed, log_as_configured, route_of
from components.serving.http.problems import IDEMPOTENCY, REQUEST_ID, problem_response, status_of
from components.serving.http.uploads import OVERHEAD_BYTES, largest_body
from components.serving.live.streams import Streams
from components.serving.metrics import CONTENT_TYPE, FOLDER_VARIABLE, RECEIVE, metrics

CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
VARIABLE = "MER_SERVING"
# How often Serve looks whether a proxy lives; its own default is 10 s.
PROXY_CHECKS = {"RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1"}
SETTLED_S = 2.0  # before it, how fast a body arrives says nothing
ATTEMPTS = 2
JSON = b"application/json"
# Headers by which a client could set Serve's own time limits.
SERVES_OWN = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})


def environment(serving: Serving, *, counts: Path, keys: Path) -> dict[str, str]:
    """The variables with which Ray must start so that Serve's proxies have the gateway of a configuration, and so that
    a proxy that died is started again within seconds.

    Args:
        serving: the configuration.
        counts: the folder for what proxies and replicas count; it must be empty, and is made where it is missing.
        keys: the file of API keys.
    """
    return {
        CALLBACK: f"{__name__}:middlewares",
        VARIABLE: serving.model_dump_json(),
        FOLDER_VARIABLE: str(counts),
        FILE_VARIABLE: str(keys),
        **PROXY_CHECKS,
    }


def middlewares() -> list[Middleware]:
    """What a proxy of Serve puts before its own application, with the settings of `VARIABLE`: the innermost first."""
    text = os.environ.get(VARIABLE)
    serving = Serving.model_validate_json(text) if text else Serving()
    log_as_configured()
    keys = KeyFile.of(Layout(Path()).api_keys)
    return [
        Middleware(Gateway, serving=serving),
        Middleware(Access, serving=serving, keys=keys),
        *_cross_origin(serving),
        Middleware(Observed),
    ]


def _cross_origin(serving: Serving) -> list[Middleware]:
    if not serving.allowed_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=serving.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-Request-Id", "Idempotency-Key"],
            expose_headers=["X-Request-Id", "X-Error-Code", "Retry-After", "Location"],
        )
    ]


class Gateway:
    """The middleware.

    Args:
        app: the application behind it.
        serving: its limits.
    """

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self._app = app
        self._serving = serving
        self._receiving: list[Body] = []
        self._streams = Streams(serving)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if route_of(scope["path"]) == STREAM:
            await _only_websocket(scope)(scope, receive, send)
            return
        if scope["path"] == METRICS:
            text = await asyncio.to_thread(metrics().exposition)
            await Response(text, media_type=CONTENT_TYPE)(scope, receive, send)
            return
        where = f"{scope['method']} {scope['path']}"
        most = largest_body(self._serving.upload_limits.max_bytes)
        if route_of(scope["path"]) == BATCH:
            most = max(most, self._serving.max_batch_bytes + OVERHEAD_BYTES)
            scope = _asked_once(scope)
        scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() not in SERVES_OWN]}
        if not _has_body(scope):
            await self._answered(scope, lambda: receive, send, where, attempts=1)
            return
        try:
            body = await self._received(receive, where, most)
        except GoneError:
            return
        except MerError as error:
            await problem_response(status_of(error), Problem.of(error), scope, close=True)(scope, _nothing, send)
            return
        with body.file:
            await self._answered(scope, lambda: body.replay(receive), send, where, attempts=ATTEMPTS)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if route_of(scope["path"]) != STREAM:
            detail = ProblemDetail(code=Code.HTTP, what="no WebSocket is served here", where=scope["path"])
            await problem_response(HTTPStatus.NOT_FOUND, Problem(error=detail), scope)(scope, receive, send)
            return
        await self._streams.serve(scope, receive, send, partial(self._asked, scope))

    async def _asked(self, scope: Scope, method: str, path: str, content: Iterator[bytes]) -> tuple[int, bytes]:
        """The answer of the application to a request of this proxy's own, on behalf of a WebSocket's client."""
        body = Body(where=f"{method} {path}")
        with body.file:
            with full_disk_named():
                for block in content:
                    body.add(block)
            length = str(body.size).encode()
            own = [pair for pair in scope["headers"] if pair[0].lower() in (b"host", REQUEST_ID)]
            request = {
                **{key: value for key, value in scope.items() if key not in ("subprotocols", "extensions", KEY)},
                "type": "http",
                "scheme": "http",
                "http_version": "1.1",
                "method": method,
                "path": scope["path"].removesuffix(STREAM) + path,
                "raw_path": (scope["path"].removesuffix(STREAM) + path).encode(),
                "query_string": b"",
                "headers": [*own, (b"content-type", b"application/octet-stream"), (b"content-length", length)],
            }
            answer = _Collected()
            reader = body.replay(_forever) if body.size else _empty()
            await self._answered(request, lambda: reader, answer, body.where, attempts=1)
        return answer.status, bytes(answer.body)

    async def _received(self, receive: Receive, where: str, most: int) -> Body:
        body = Body(where=where)
        self._make_room(body)
        try:
            with full_disk_named(), metrics().receiving.track_inprogress(), metrics().stage(RECEIVE):
                await body.read(receive, self._serving, most)
        except BaseException:
            body.file.close()
            raise
        finally:
            self._receiving.remove(body)
        return body

    def _make_room(self, body: Body) -> None:
        """Where all places are taken, the slowest body makes room, so that slow ones never keep others out."""
        if len(self._receiving) >= self._serving.max_uploads:
            slowest = min(self._receiving, key=lambda other: other.rate)
            if slowest.age_s < SETTLED_S:
                raise too_many(self._serving, body.where)
            slowest.evict()
        self._receiving.append(body)

    async def _answered(
        self, scope: Scope, receiver: Callable[[], Receive], send: Send, where: str, *, attempts: int
    ) -> None:
        for _ in range(attempts):
            answer, client = _Answer(send=send, scope=scope, where=where), _Client(receive=receiver())
            await self._app({**scope}, client, answer)
            if answer.started or client.gone:
                return
        error = UnavailableError(
            "the replica that had this request ended before it answered", where=where, remedy="Send it again."
        )
        await problem_response(status_of(error), Problem.of(error), scope)(scope, _nothing, send)


@dataclass(kw_only=True)
class _Client:
    """Receives, and notices that the client is gone."""

    receive: Receive
    gone: bool = False

    async def __call__(self) -> Message:
        message = await self.receive()
        self.gone = self.gone or message["type"] == "http.disconnect"
        return message


@dataclass(kw_only=True)
class _Answer:
    """Sends an application's response; an error that is not in the project's own form is replaced by a `Problem`."""

    send: Send
    scope: Scope
    where: str
    started: bool = False
    _replaced: int = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            status, headers = int(message["status"]), dict(message.get("headers", ()))
            if status >= HTTPStatus.BAD_REQUEST and not headers.get(b"content-type", b"").startswith(
                b"application/json"
            ):
                self._replaced = status
                return
        if not self._replaced:
            await self.send(message)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            response = problem_response(self._replaced, _serves_own(self._replaced, self.where), self.scope)
            await response(self.scope, _nothing, self.send)


@dataclass(kw_only=True)
class _Collected:
    """An application's response, for this process itself."""

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    body: bytearray = field(default_factory=bytearray)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


def _only_websocket(scope: Scope) -> Response:
    detail = ProblemDetail(
        code=Code.HTTP,
        what="a live stream is a WebSocket",
        where=f"{scope['method']} {scope['path']}",
        remedy="Open it with ws:// or wss://; docs/stream.md describes the messages.",
    )
    response = problem_response(HTTPStatus.UPGRADE_REQUIRED, Problem(error=detail), scope, close=True)
    response.headers["Upgrade"] = "websocket"
    return response


async def _forever() -> Message:
    await asyncio.Event().wait()
    return await _nothing()


def _empty() -> Receive:
    """A request without a body, whose client stays."""
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(messages, None) or await _forever()

    return receive


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


# What Serve means by a status, as code, message and remedy.
SERVES: dict[int, tuple[Code, str, str | None]] = {
    HTTPStatus.REQUEST_TIMEOUT: (Code.BUSY, "the service took too long to answer", "Send it again later."),
    HTTPStatus.TOO_MANY_REQUESTS: (Code.BUSY, "too many requests at once", "Send it again later."),
    HTTPStatus.SERVICE_UNAVAILABLE: (Code.UNAVAILABLE, "no replica can take the request now", "Send it again later."),
    HTTPStatus.INTERNAL_SERVER_ERROR: (Code.INTERNAL, "the service failed on this request", None),
}


def _serves_own(status: int, where: str) -> Problem:
    code, what, remedy = SERVES.get(status, (Code.HTTP, HTTPStatus(status).phrase, None))
    return Problem(error=ProblemDetail(code=code, what=what, where=where, remedy=remedy))


def _asked_once(scope: Scope) -> Scope:
    """A request for a job with a key of idempotency: where a replica dies after it took the job and before it said so,
    the other one that gets the request must not take a second."""
    if any(name.lower() == IDEMPOTENCY for name, _ in scope["headers"]):
        return scope
    return {**scope, "headers": [*scope["headers"], (IDEMPOTENCY, secrets.token_hex(16).encode())]}


def _has_body(scope: Scope) -> bool:
    headers = {name.lower(): value for name, value in scope["headers"]}
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip() != b"0"
