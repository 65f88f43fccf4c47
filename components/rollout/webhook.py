"""The receiver of MLflow's webhook, which wakes the reconciler at once when an alias moves.

A message only wakes: what it says is not read, and the reconciler then looks at the registry as it does anyway. So a
message that is lost, repeated or held back costs at most the time until the next look. MLflow signs
``id.timestamp.body`` with HMAC-SHA256; a message with a wrong signature, one that is too old, and one too many are
refused with a `Problem`. No Ray and no MLflow here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from components.contracts.codes import Code
from components.contracts.errors import AccessError, ConfigError, DataError, MerError, UnavailableError
from components.serving.answers.schemas import Problem, ProblemDetail
from components.serving.http.problems import problem_response, status_of

SECRET_FILE_VARIABLE = "MER_WEBHOOK_SECRET_FILE"
ID, TIMESTAMP, SIGNATURE = "x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature"
SCHEME = "v1,"
SECONDS = re.compile(r"[0-9]{1,12}")
# MLflow repeats a message that had no answer for up to a quarter of a minute, with its first timestamp.
MAX_AGE_S = 60.0
MAX_BYTES = 1 << 16
READ_S = 5.0
AT_ONCE = 16
# Messages with a good signature, and with none: strangers never use up what MLflow may send.
GOOD, BAD = parse("20/10 second"), parse("30/minute")
MIN_SECRET_CHARACTERS = 16
OWNER_ONLY = 0o600
WHERE = "webhook"
ASK_AGAIN = "Send it again later; the registry is looked at without it too."
Clock = Callable[[], float]


class Webhook:
    """The ASGI application.

    Args:
        secret: that MLflow signs with.
        wake: called once per new message.
        clock: seconds since 1970.
    """

    def __init__(self, secret: str, wake: Callable[[], object], *, clock: Clock = time.time) -> None:
        self._secret = secret
        self._wake = wake
        self._clock = clock
        self._present = 0
        self._received: dict[str, float] = {}
        self._rates = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request: 202, or a `Problem`."""
        if scope["type"] != "http":
            return
        if scope["method"] != "POST":
            detail = ProblemDetail(code=Code.HTTP, what="MLflow posts its messages here", where=WHERE)
            response: Response = problem_response(HTTPStatus.METHOD_NOT_ALLOWED, Problem(error=detail), scope)
        else:
            try:
                with self._place():
                    await self._take(scope, receive)
                response = Response(status_code=HTTPStatus.ACCEPTED)
            except MerError as error:
                response = problem_response(status_of(error), Problem.of(error), scope, close=True)
        await response(scope, _nothing, send)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._present >= AT_ONCE:
            raise AccessError(
                "too many messages at once", where=WHERE, allowed=AT_ONCE, remedy=ASK_AGAIN, code=Code.TOO_MANY
            )
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    async def _take(self, scope: Scope, receive: Receive) -> None:
        body, now = await _read(receive), self._clock()
        try:
            delivery = check(Headers(scope=scope), body, self._secret, now=now)
        except AccessError:
            self._count(BAD, "bad")
            raise
        self._count(GOOD, "good")
        self._received = {known: until for known, until in self._received.items() if until >= now}
        if delivery in self._received:
            return  # MLflow repeats what it had no answer to
        # Until its timestamp is too old, whichever way the two clocks differ.
        self._received[delivery] = now + 2 * MAX_AGE_S
        self._wake()

    def _count(self, limit: RateLimitItem, kind: str) -> None:
        if not self._rates.hit(limit, kind):
            raise AccessError(
                "too many messages", where=WHERE, allowed=str(limit), remedy=ASK_AGAIN, code=Code.RATE_LIMIT
            )


def check(headers: Mapping[str, str], body: bytes, secret: str, *, now: float) -> str:
    """The id of a message.

    Args:
        headers: its headers, by lower-case names.
        body: as it came.
        secret: that it must be signed with.
        now: seconds since 1970.

    Raises:
        AccessError: it is not signed with the secret (`bad-signature`), or its timestamp is more than `MAX_AGE_S`
            away from `now` (`old-message`).
    """
    delivery, timestamp, signature = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not delivery or not hmac.compare_digest(signature.encode(), sign(delivery, timestamp, body, secret).encode()):
        raise AccessError(
            "the message is not signed with the secret of this webhook",
            where=WHERE,
            seen="no signature" if not signature else None,
            remedy=f"Give MLflow the secret of this project, or this project (as the file {SECRET_FILE_VARIABLE}) "
            "that of MLflow.",
            code=Code.BAD_SIGNATURE,
        )
    age_s = now - int(timestamp) if SECONDS.fullmatch(timestamp) else float("inf")
    if abs(age_s) > MAX_AGE_S:
        raise AccessError(
            "the message is too old, or of a machine whose clock is wrong",
            where=WHERE,
            seen=f"{age_s:.0f} s",
            allowed=f"{MAX_AGE_S:.0f} s",
            remedy="Let both machines keep their time by NTP.",
            code=Code.OLD_MESSAGE,
        )
    return delivery


def sign(delivery: str, timestamp: str, body: bytes, secret: str) -> str:
    """The signature as MLflow makes it (`mlflow/webhooks/delivery.py`)."""
    content = f"{delivery}.{timestamp}.".encode() + body
    return SCHEME + base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()


def signed_headers(body: bytes, secret: str, *, now: float) -> dict[str, str]:
    """The headers of a new message."""
    delivery, timestamp = str(uuid.uuid4()), str(int(now))
    return {ID: delivery, TIMESTAMP: timestamp, SIGNATURE: sign(delivery, timestamp, body, secret)}


def secret_of(file: Path) -> str:
    """The secret: of the file that the environment names, else of the project's own, which is made where there is none.

    Args:
        file: the project's own (`Layout.webhook_secret`).

    Raises:
        ConfigError: it cannot be read, or is too short.
    """
    named = os.environ.get(SECRET_FILE_VARIABLE)
    if not named:
        _make(file)
    path = Path(named) if named else file
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the secret of the webhook cannot be read", where=str(path), seen=str(error)) from error
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise ConfigError(
            "the secret of the webhook is too short",
            where=str(path),
            seen=f"{len(secret)} characters",
            allowed=f"at least {MIN_SECRET_CHARACTERS}",
            remedy="`openssl rand -hex 32` makes one.",
        )
    return secret


def _make(file: Path) -> None:
    """Writes a new secret, unless there is one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{secrets.token_hex(32)}\n")


async def _read(receive: Receive) -> bytes:
    """The body; raises DataError where it is too long, UnavailableError where it does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(READ_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > MAX_BYTES:
                    raise DataError("the message is too long", where=WHERE, allowed=MAX_BYTES, code=Code.TOO_LARGE)
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise UnavailableError(
            "the message did not arrive", where=WHERE, allowed=f"{READ_S:g} s", code=Code.SLOW_UPLOAD
        ) from error


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
