"""The WebSockets of one proxy: live streams, each judged part by part by the replicas behind it.

A connection sends its stream's messages and receives its steps; the stream itself lives here and not in a replica, so
that it outlives a replica, a change of version and, for `stream_resume_s`, its own connection. A part of a stream goes
to a replica as any request does, and waits there for its turn like one.

A client must have something to say: one that is slower than half the pace of what it sends, after
`upload_grace_s`, or does not read what it gets, is refused and its place is free.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

from components.contracts.codes import Code
from components.contracts.config import Serving
from components.contracts.errors import MediaError, MerError, UnavailableError
from components.serving.answers.schemas import Answer, Problem, ProblemDetail, ServedVersion
from components.serving.http.observed import KEY, STREAM, VERSION
from components.serving.http.problems import FOR_NOW, request_id_of, status_of
from components.serving.live import wire
from components.serving.live.protocol import (
    BROKEN,
    DONE,
    FIRST,
    LATER,
    REFUSED,
    SUBPROTOCOL,
    WHERE,
    Begin,
    Begun,
    Ended,
    Resume,
    Steps,
    Trouble,
    Whole,
    bad_message,
    text_message,
)
from components.serving.live.session import Session, StreamSettings
from components.serving.metrics import metrics

# A client begins within, and takes each message within.
FIRST_S, SEND_S = 10.0, 30.0
AGAIN_S = 0.5  # after a replica was busy
BUSY_S = 60.0  # a stream whose parts nobody has time for ends
# (method, path, content) → (status, body) of the application behind.
Asking = Callable[[str, str, Iterator[bytes]], Awaitable[tuple[int, bytes]]]


class GoneError(Exception):
    """The connection is closed."""


class RefusedError(Exception):
    """A refusal of the service behind, as it was."""

    def __init__(self, status: int, detail: ProblemDetail) -> None:
        super().__init__(detail.what)
        self.status = status
        self.detail = detail


@dataclass(kw_only=True, eq=False)
class Live:
    """A stream while it is here: its state, who may go on with it, and its work."""

    session: Session
    begun: Begun
    key: str | None
    ask: Asking
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answer | None = None
    failure: BaseException | None = None
    done: bool = False
    connection: asyncio.Event | None = None
    work: asyncio.Task[None] | None = None
    left_at: float | None = None

    async def judge(self) -> None:
        """Has parts judged as they are due, until the stream has ended; then the whole of it."""
        session = self.session
        try:
            while not (session.ended and session.due() is None):
                part = session.due()
                if part is None:
                    self.changed.clear()
                    await self.changed.wait()
                    continue
                began = time.monotonic()
                reply, past = wire.read_reply(await self._judged(part))
                session.took(part, reply, past)
                metrics().stream_part.observe(time.monotonic() - began)
                metrics().stream_steps.inc(len(reply.moments))
                self.news.set()
            whole = session.whole()
            if whole is not None:
                self.answer = Answer.model_validate_json(await self._judged(whole))
        except Exception as error:
            self.failure = error
        self.done = True
        self.news.set()

    async def _judged(self, part: wire.Ask) -> bytes:
        until = time.monotonic() + BUSY_S
        while True:
            status, body = await self.ask("POST", STREAM, _content(self.session, part))
            if status == HTTPStatus.OK:
                return body
            if status not in FOR_NOW or time.monotonic() > until:
                raise _refused(status, body)
            await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        """Ends its work and lets go of what it holds."""
        if self.work is not None:
            self.work.cancel()
        self.session.close()


class Streams:
    """The streams of one proxy.

    Args:
        serving: their limits.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._settings = StreamSettings.of(serving)
        self._streams: dict[str, Live] = {}
        self._connections = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send, ask: Asking) -> None:
        """One connection, from its handshake to its end; `ask` reaches the application behind."""
        await receive()  # websocket.connect
        offered = scope.get("subprotocols") or ()
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
        socket = _Socket(receive=receive, send=send)
        self._connections += 1
        try:
            await self._served(scope, socket, ask)
        except GoneError:
            with suppress(GoneError):  # a connection in whose place another one is
                await socket.close(REFUSED)
        except Exception as error:
            code, trouble = _trouble(error, scope)
            with suppress(GoneError, TimeoutError):
                await socket.tell(trouble)
                await socket.close(code)
        finally:
            self._connections -= 1

    async def _served(self, scope: Scope, socket: _Socket, ask: Asking) -> None:
        if self._connections > 2 * self._serving.max_streams:
            raise self._too_many()
        async with asyncio.timeout(FIRST_S):
            first = await socket.hear()
        if isinstance(first, bytes):
            raise bad_message("the first message is `begin` or `resume`", seen="a binary message")
        opening = text_message(first, FIRST)
        key = cast("str | None", scope.get(KEY))
        if isinstance(opening, Resume):
            live, steps = self._resumed(opening, key), opening.steps
        else:
            live, steps = await self._begun(cast(Begin, opening), key, ask), 0
        live.connection = own = asyncio.Event()
        live.left_at = None
        session = live.session
        sound_s, pictures_s = (session.ends_s.get(kind, 0.0) for kind in (b"S", b"P"))
        await socket.tell(live.begun.model_copy(update={"sound_s": sound_s, "pictures_s": pictures_s}))
        try:
            await self._run(live, socket, steps, own)
        except BaseException as error:
            if live.connection is own:
                self._leave(live, forget=not isinstance(error, GoneError | asyncio.CancelledError))
            raise
        self._leave(live, forget=True)
        await socket.close(DONE)

    async def _begun(self, begin: Begin, key: str | None, ask: Asking) -> Live:
        self._sweep()
        if not any((begin.sound, begin.pictures, begin.words, begin.signals)):
            raise bad_message("the first message announces nothing", allowed="sound, pictures, words, signals")
        if len(self._streams) >= self._serving.max_streams:
            raise self._too_many()
        status, body = await ask("GET", VERSION, iter(()))
        if status != HTTPStatus.OK:
            raise _refused(status, body)
        if len(self._streams) >= self._serving.max_streams:  # others came meanwhile
            raise self._too_many()
        version = ServedVersion.model_validate_json(body)
        session = Session(begin=begin, settings=self._settings, rate_hz=version.rate_hz)
        begun = Begun(
            token=session.token,
            resume_within_s=self._serving.stream_resume_s,
            name=version.name,
            version=version.version,
            classes=version.classes,
            modalities=version.modalities,
            rate_hz=version.rate_hz,
            causal=version.causal,
        )
        live = Live(session=session, begun=begun, key=key, ask=ask)
        self._streams[session.token] = live
        metrics().streams.inc()
        live.work = asyncio.create_task(live.judge())
        return live

    def _resumed(self, resume: Resume, key: str | None) -> Live:
        self._sweep()
        live = self._streams.get(resume.token)
        if live is None or live.key != key:
            raise UnavailableError(
                "this stream is not here",
                where=WHERE,
                allowed=f"a stream whose connection broke less than {self._serving.stream_resume_s:g} s ago",
                remedy="Begin a new one.",
                code=Code.NO_STREAM,
            )
        if live.connection is not None:  # the client knows better than a connection that seems to be open
            live.connection.set()
        return live

    async def _run(self, live: Live, socket: _Socket, steps: int, replaced: asyncio.Event) -> None:
        """Hears and tells until everything has been told; raises GoneError where the client is gone, or elsewhere."""
        telling = asyncio.create_task(_tell(live, socket, steps))
        tasks = [telling, asyncio.create_task(self._hear(live, socket)), asyncio.create_task(replaced.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    await task
                    break
            if not telling.done():
                raise GoneError
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, live: Live, socket: _Socket) -> None:
        session, waited_s = live.session, 0.0
        began_at_s = session.end_s
        while not session.ended:
            while session.full and not live.done:  # what is not read stays with the client
                live.news.clear()
                await live.news.wait()
            allowed_s = self._serving.upload_grace_s + 2.0 * (session.end_s - began_at_s)
            before = time.monotonic()
            try:
                async with asyncio.timeout(max(allowed_s - waited_s, 0.0)):
                    message = await socket.hear()
            except TimeoutError as error:
                raise _too_slow(session.end_s - began_at_s, waited_s + time.monotonic() - before) from error
            waited_s += time.monotonic() - before
            session.take(message)
            live.changed.set()
        # A client that closes the connection now does not wait for the rest.
        while True:
            await socket.hear()

    def _leave(self, live: Live, *, forget: bool) -> None:
        live.connection, live.left_at = None, time.monotonic()
        if forget:
            self._forget(live)
            return
        asyncio.get_running_loop().call_later(self._serving.stream_resume_s, self._sweep)

    def _sweep(self) -> None:
        """Forgets the streams to which nobody came back."""
        now = time.monotonic()
        for live in list(self._streams.values()):
            if live.left_at is not None and now - live.left_at >= self._serving.stream_resume_s - 1e-3:
                self._forget(live)

    def _forget(self, live: Live) -> None:
        if self._streams.pop(live.session.token, None) is not None:
            metrics().streams.dec()
            live.close()

    def _too_many(self) -> UnavailableError:
        return UnavailableError(
            "too many live streams at once",
            where=WHERE,
            allowed=f"{self._serving.max_streams} at a time",
            remedy="Begin it again later.",
            code=Code.TOO_MANY,
        )


async def _tell(live: Live, socket: _Socket, steps: int) -> None:
    """Sends the steps from a number on as they come, and then the answer."""
    told = 0
    while True:
        live.news.clear()
        first, moments = live.session.since(steps)
        if moments:
            notes = tuple(live.session.notes)
            await socket.tell(Steps(first=first, moments=moments, notes=notes[told:]))
            steps, told = first + len(moments), len(notes)
            continue
        if live.done:
            break
        await live.news.wait()
    if live.failure is not None:
        raise live.failure
    ended = Ended(steps=steps, notes=tuple(live.session.notes))
    await socket.tell(ended if live.answer is None else Whole(answer=live.answer))


@dataclass(kw_only=True)
class _Socket:
    """The messages of one connection."""

    receive: Receive
    send: Send

    async def hear(self) -> str | bytes:
        """The next message; raises GoneError where there is none."""
        message = await self.receive()
        if message["type"] == "websocket.disconnect":
            raise GoneError
        text = message.get("text")
        return text if text is not None else cast(bytes, message.get("bytes") or b"")

    async def tell(self, message: BaseModel) -> None:
        """Sends a message; raises GoneError where nobody takes it."""
        await self._sent({"type": "websocket.send", "text": message.model_dump_json(by_alias=True)})

    async def close(self, code: int) -> None:
        """Closes the connection."""
        await self._sent({"type": "websocket.close", "code": code})

    async def _sent(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self.send(message)
        except (TimeoutError, OSError, RuntimeError) as error:  # uvicorn's, where the client is gone
            raise GoneError from error


def _content(session: Session, part: wire.Ask) -> Iterator[bytes]:
    yield wire.head(part)
    yield from session.content(part)


def _refused(status: int, body: bytes) -> RefusedError:
    try:
        return RefusedError(status, Problem.model_validate_json(body).error)
    except ValueError:
        return RefusedError(status, ProblemDetail(code=Code.INTERNAL, what="the service failed on this stream"))


def _trouble(error: Exception, scope: Scope) -> tuple[int, Trouble]:
    """The close code and the last message for an error."""
    if isinstance(error, RefusedError):
        status, detail = error.status, error.detail
    elif isinstance(error, MerError):
        status, detail = status_of(error), Problem.of(error).error
    elif isinstance(error, TimeoutError):
        status, detail = status_of(_too_slow(0.0, FIRST_S)), Problem.of(_too_slow(0.0, FIRST_S)).error
    else:
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        detail = ProblemDetail(code=Code.INTERNAL, what="the service failed on this stream", seen=type(error).__name__)
    code = BROKEN if status == HTTPStatus.INTERNAL_SERVER_ERROR else LATER if status in FOR_NOW else REFUSED
    metrics().refusals.labels(detail.code).inc()
    return code, Trouble(error=detail, request_id=request_id_of(scope))


def _too_slow(sent_s: float, waited_s: float) -> MediaError:
    return MediaError(
        "the stream arrives too slowly",
        where=WHERE,
        seen=f"{sent_s:.1f} s of it in {waited_s:.1f} s",
        allowed="at least half its own pace",
        remedy="Send smaller pictures and sound of a lower rate, or over a faster line.",
        code=Code.SLOW_UPLOAD,
    )
