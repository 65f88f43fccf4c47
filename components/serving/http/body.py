"""The body of a request: received on disk, under a minimum rate and a total time, and handed on in pieces."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from starlette.types import Message, Receive

from components.contracts.codes import Code
from components.contracts.config import Serving
from components.contracts.errors import MediaError, UnavailableError
from components.serving.http.problems import RETRY_AFTER_S

IN_MEMORY_BYTES = 1 << 20  # of one body; more lies in a file, which has no name
BLOCK_BYTES = 1 << 18
# Handed on and not yet fetched, of one body.
AHEAD_BYTES = 4 << 20


class GoneError(Exception):
    """The client has closed the connection."""


def _nameless() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # closed by the gateway


@dataclass(kw_only=True, eq=False)
class Body:
    """A body while it is received, and then for as many readers as ask for it, one after the other."""

    where: str
    size: int = 0
    begun: float = field(default_factory=time.monotonic)
    file: IO[bytes] = field(default_factory=_nameless)
    _reader: asyncio.Task[Message] | None = None
    _evicted: bool = False

    @property
    def age_s(self) -> float:
        """Seconds since the request began."""
        return time.monotonic() - self.begun

    @property
    def rate(self) -> float:
        """Bytes per second so far."""
        return self.size / max(self.age_s, 1e-3)

    def evict(self) -> None:
        """Makes `read` end with a refusal."""
        self._evicted = True
        if self._reader is not None:
            self._reader.cancel()

    def add(self, block: bytes) -> None:
        """Writes what this process sends itself."""
        self.file.write(block)
        self.size += len(block)

    async def read(self, receive: Receive, serving: Serving, most: int) -> None:
        """Receives the whole body, of `most` bytes.

        A client has `upload_grace_s` seconds, and one more per `upload_rate_bytes_per_s` bytes received, but no more
        than `upload_timeout_s` in all (as Apache's mod_reqtimeout counts). What is over the limit by less than the
        limit itself is read and dropped: a client that is refused while it sends often does not read the answer.
        """
        while True:
            allowed_s = min(
                serving.upload_grace_s + self.size / serving.upload_rate_bytes_per_s, serving.upload_timeout_s
            )
            message = await self._next(receive, allowed_s - self.age_s, serving)
            if message["type"] == "http.disconnect":
                raise GoneError
            block = message.get("body", b"")
            self.size += len(block)
            if self.size <= most:
                self.file.write(block)
            if self.size > 2 * most or not message.get("more_body", False):
                break
        if self.size > most:
            raise _too_large(self.where, most)

    async def _next(self, receive: Receive, within_s: float, serving: Serving) -> Message:
        self._reader = asyncio.ensure_future(receive())
        try:
            return await asyncio.wait_for(self._reader, max(within_s, 0.0))
        except TimeoutError as error:
            raise _too_slow(self.where, self.size, self.age_s, serving) from error
        except asyncio.CancelledError:
            if self._evicted:
                raise too_many(serving, self.where) from None
            raise

    def replay(self, receive: Receive) -> Receive:
        """The body as an application receives it, from its beginning; then what `receive` has, a disconnection."""
        self.file.seek(0)
        ahead = _Ahead()
        ended = False

        async def replayed() -> Message:
            nonlocal ended
            if ended:
                return await receive()
            await ahead.room()
            block = self.file.read(BLOCK_BYTES)
            ended = self.file.tell() >= self.size
            return {"type": "http.request", "body": ahead.block(block), "more_body": not ended}

        return replayed


class _Block(bytes):
    """A piece of a body that says when nobody holds it any longer."""

    let_go: Callable[[int], None]

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return bytes, (bytes(self),)

    def __del__(self) -> None:
        self.let_go(len(self))


class _Ahead:
    """How much of a body was handed on and is still held: by Serve, until a replica fetches it."""

    def __init__(self) -> None:
        self._bytes = 0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def room(self) -> None:
        """Waits until less than `AHEAD_BYTES` are held."""
        while self._bytes >= AHEAD_BYTES:
            self._changed.clear()
            await self._changed.wait()

    def block(self, data: bytes) -> bytes:
        """The data, counted until it is let go."""
        block = _Block(data)
        self._bytes += len(data)
        block.let_go = self._let_go
        return block

    def _let_go(self, size: int) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._freed, size)

    def _freed(self, size: int) -> None:
        self._bytes -= size
        self._changed.set()


def too_many(serving: Serving, where: str) -> UnavailableError:
    """The refusal of a body for which there is no place."""
    return UnavailableError(
        "too many uploads at once, and others were faster",
        where=where,
        allowed=f"{serving.max_uploads} at a time",
        remedy=f"Send it again after {RETRY_AFTER_S} s, over a faster line.",
        code=Code.TOO_MANY,
    )


def _too_slow(where: str, size: int, age_s: float, serving: Serving) -> MediaError:
    return MediaError(
        "the request arrives too slowly",
        where=where,
        seen=f"{size} bytes in {age_s:.1f} s",
        allowed=f"{serving.upload_rate_bytes_per_s} bytes per second after {serving.upload_grace_s:g} s, and at most "
        f"{serving.upload_timeout_s:g} s in all",
        remedy="Send a smaller clip, or over a faster line.",
        code=Code.SLOW_UPLOAD,
    )


def _too_large(where: str, most: int) -> MediaError:
    return MediaError(
        "the request is too large",
        where=where,
        seen=f"more than {most} bytes",
        allowed=f"at most {most} bytes",
        remedy="Cut the clip, or raise serving.upload_limits.max_bytes.",
        code=Code.TOO_LARGE,
    )
