"""Every request has an id, is counted, and is one line of the log: the outermost middleware of Serve's proxies.

A line is JSON with a fixed set of fields: no media, no file name, no word of a transcript, no client's address, no key.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from logging.handlers import WatchedFileHandler
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.http.problems import CODE_HEADER, REQUEST_ID
from components.serving.metrics import metrics

LOG_VARIABLE = "MER_REQUEST_LOG"
# What a client may choose as the id of its request.
GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
PREDICT, STREAM, VERSION, METRICS, PAGE = "/v1/predict", "/v1/stream", "/v1/version", "/metrics", "/"
FEATURES, BATCH = "/v1/predict:features", "/v1/predict:batch"
VERSIONS, PICTURES = "/v1/versions", "/v1/pictures"
MODEL, CARD, TERMS, EXAMPLE = "/v1/model", "/v1/model/card", "/v1/model/terms", "/v1/model/example"
# A key for predictions is for these too.
WITH_KEY = frozenset({PREDICT, STREAM, FEATURES, BATCH, PICTURES, MODEL, CARD, TERMS, EXAMPLE, VERSIONS})
ROUTES = (*sorted(WITH_KEY), VERSION, "/healthz", "/readyz", METRICS, "/docs", "/redoc", "/openapi.json")
# Asked every few seconds; a success of theirs is not news.
QUIET = frozenset({"/healthz", "/readyz", METRICS})
OTHER = "other"
WEBSOCKET = "WEBSOCKET"
CLOSED = 499  # what nginx logs where the client was gone before the answer
KEY = "mer.key"  # in the scope: the id of the key that a request came with

log = logging.getLogger("mer.requests")


class Observed:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name.lower() == REQUEST_ID), b"")
        request_id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8).encode()
        headers = [pair for pair in scope["headers"] if pair[0].lower() != REQUEST_ID]
        scope = {**scope, "headers": [*headers, (REQUEST_ID, request_id)]}
        response = _Response(send=send, request_id=request_id)
        try:
            await self._app(scope, receive, response)
        except Exception:
            response.status = HTTPStatus.INTERNAL_SERVER_ERROR  # what the server answers
            raise
        finally:
            _note(scope, response, request_id.decode())


@dataclass(kw_only=True)
class _Response:
    """Sends a response with the id of its request, and remembers how it went."""

    send: Send
    request_id: bytes
    status: int = CLOSED
    code: str | None = None
    begun: float = field(default_factory=time.monotonic)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.status = HTTPStatus.SWITCHING_PROTOCOLS
            message = {**message, "headers": [*message.get("headers", ()), (REQUEST_ID, self.request_id)]}
        elif message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = int(message["status"])
            pairs = [pair for pair in message.get("headers", ()) if pair[0].lower() != REQUEST_ID]
            self.code = next((value.decode() for name, value in pairs if name.lower() == CODE_HEADER.encode()), None)
            message = {**message, "headers": [*pairs, (REQUEST_ID, self.request_id)]}
        await self.send(message)


def route_of(path: str) -> str:
    """The route of a path, whatever prefix the application has; one of a fixed set, since it becomes a label."""
    if f"{BATCH}/" in path:  # the address of a job
        return BATCH
    return PAGE if path == PAGE else next((route for route in ROUTES if path.endswith(route)), OTHER)


def log_to(file: Path | None) -> None:
    """Writes the log of requests to a file, which may be moved away at any time, or to standard error."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    handler = WatchedFileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def log_as_configured() -> None:
    """As `log_to`, with the file that `LOG_VARIABLE` names, if it does."""
    name = os.environ.get(LOG_VARIABLE)
    log_to(Path(name) if name else None)


def _note(scope: Scope, response: _Response, request_id: str) -> None:
    route, status = route_of(scope["path"]), response.status
    seconds = time.monotonic() - response.begun
    metrics().requests.labels(route, _method(scope), str(int(status))).inc()
    if scope["type"] == "http":  # a stream lasts as long as its client has something to send
        metrics().seconds.labels(route).observe(seconds)
    if response.code is not None:
        metrics().refusals.labels(response.code).inc()
    if route in QUIET and status < 400:
        return
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": request_id,
        "key": scope.get(KEY),
        "method": _method(scope),
        "route": route,
        "status": status,
        "code": response.code,
        "seconds": round(seconds, 4),
    }
    log.info(json.dumps(line))


def _method(scope: Scope) -> str:
    if scope["type"] == "websocket":
        return WEBSOCKET
    return scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else OTHER
