"""`mer predict --live`: a file at its own pace, a camera or standard input, judged while it lasts.

This process judges it, or a service.
"""

from __future__ import annotations

import json
import queue
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from components.contracts.codes import Code
from components.contracts.config import MediaLimits, Serving
from components.contracts.errors import ConfigError, UnavailableError
from components.serving.live.protocol import End, Steps, Trouble, binary

if TYPE_CHECKING:
    from components.media.pieces import Piece
    from components.serving.answers.schemas import Answer, Moment
    from components.serving.live.capture import Source
    from components.serving.predictor import Predictor

PATH = "/v1/stream"


def run(source: Path, *, predictor: Callable[[], Predictor], url: str | None, as_json: bool) -> int:
    """Prints the steps as they come, and at the end, or with Ctrl-C, the answer of the whole.

    Args:
        source: what is shown and heard (`live.capture.opened`).
        predictor: makes the one that judges, where no service does.
        url: of a service, `ws://` or `http://`.
        as_json: one JSON object per line: the messages of docs/stream.md.

    Returns:
        the exit code.

    Raises:
        MerError: it cannot be opened, or judged.
    """
    from components.serving.live.capture import opened

    if url is not None:
        feed = opened(source, MediaLimits())
        with _until_interrupted(feed):
            return _by_service(feed, url, as_json=as_json)
    judge = predictor()
    feed = opened(source, judge.guard.limits)
    with _until_interrupted(feed):
        return _here(feed, judge, as_json=as_json)


def _here(feed: Source, predictor: Predictor, *, as_json: bool) -> int:
    from components.serving.answers.schemas import Answer
    from components.serving.live.judge import judged
    from components.serving.live.session import Session, StreamSettings
    from components.serving.live.wire import Ask, head, read_reply

    settings = StreamSettings.of(Serving(upload_limits=predictor.guard.limits))
    session = Session(begin=feed.begin, settings=settings, rate_hz=predictor.bundle.alignment.rate_hz)
    printer = _Printer(as_json=as_json)
    with tempfile.TemporaryDirectory(prefix="mer-live-") as folder:

        def answered(part: Ask) -> Answer | bytes:
            file = Path(folder) / "part"
            with file.open("wb") as content:
                content.write(head(part))
                content.writelines(session.content(part))
            return judged(file, predictor)

        for pieces in _batches(feed.pieces):
            for piece in pieces:
                session.take(binary(piece))
            if not pieces:
                session.take(End(type="end").model_dump_json())
            while (part := session.due()) is not None:
                reply = answered(part)
                assert isinstance(reply, bytes)
                steps, told = session.steps, len(session.notes)
                session.took(part, *read_reply(reply))
                printer.steps(*session.since(steps), tuple(session.notes[told:]))
        whole = session.whole()
        assert whole is not None
        answer = answered(whole)
        assert isinstance(answer, Answer)
        printer.answer(answer)
    session.close()
    return 0


def _batches(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """What has come since the last look, as soon as there is any; an empty list at the end."""
    waiting: queue.Queue[Piece | None] = queue.Queue()

    def read() -> None:
        for piece in pieces:
            waiting.put(piece)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        batch = [waiting.get()]
        while not waiting.empty():
            batch.append(waiting.get())
        ended = batch[-1] is None
        if came := [piece for piece in batch if piece is not None]:
            yield came
        if ended:
            yield []
            return


def _by_service(feed: Source, url: str, *, as_json: bool) -> int:
    from websockets.exceptions import ConnectionClosed, InvalidHandshake
    from websockets.sync.client import connect

    from components.serving.answers.schemas import Answer, authorization

    address = "ws" + url.removeprefix("http") if url.startswith("http") else url
    if not address.startswith(("ws://", "wss://")):
        raise ConfigError("this is not the address of a service", where="--url", seen=url, allowed="ws:// or http://")
    address = address.rstrip("/")
    address += "" if address.endswith(PATH) else PATH
    printer = _Printer(as_json=as_json)
    try:
        with connect(address, additional_headers=authorization(), max_size=None, proxy=None) as line:

            def send() -> None:
                try:
                    for piece in feed.pieces:
                        line.send(binary(piece))
                    line.send(End(type="end").model_dump_json())
                except ConnectionClosed:
                    feed.stop()

            line.send(feed.begin.model_dump_json())
            threading.Thread(target=send, daemon=True).start()
            for text in line:
                message: dict[str, Any] = json.loads(text)
                if message["type"] == "steps":
                    steps = Steps.model_validate(message)
                    printer.steps(steps.first, steps.moments, steps.notes)
                elif message["type"] == "answer":
                    printer.answer(Answer.model_validate(message["answer"]))
                    return 0
                elif message["type"] == "problem":
                    raise _refused(Trouble.model_validate(message), address)
    except (OSError, InvalidHandshake, ConnectionClosed) as error:
        raise UnavailableError("the service cannot be reached", where=address, seen=str(error)) from error
    raise UnavailableError("the service closed the stream without an answer", where=address)


def _refused(trouble: Trouble, address: str) -> UnavailableError:
    error = trouble.error
    code = Code(error.code) if error.code in set(Code) else Code.UNAVAILABLE
    return UnavailableError(
        error.what, where=address, seen=error.seen, allowed=error.allowed, remedy=error.remedy or "", code=code
    )


@contextmanager
def _until_interrupted(feed: Source) -> Iterator[None]:
    """The first Ctrl-C ends the source, so that what was seen is still answered; the second one the command."""

    def stop(_: int, frame: FrameType | None) -> None:
        feed.stop()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Printer:
    """Prints a line per second for people, or each message as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._second = -1

    def steps(self, first: int, moments: tuple[Moment, ...], notes: tuple[str, ...]) -> None:
        """New steps, the first of which has this number, and new notes."""
        if self._as_json:
            print(Steps(first=first, moments=moments, notes=notes).model_dump_json(), flush=True)
            return
        for note in notes:
            print(f"note: {note}", flush=True)
        for moment in moments:
            if int(moment.start_s) == self._second:
                continue
            self._second = int(moment.start_s)
            print(_line(moment), flush=True)

    def answer(self, answer: Answer) -> None:
        """The answer of the whole."""
        if self._as_json:
            print(json.dumps({"type": "answer", "answer": json.loads(answer.to_json())}), flush=True)
            return
        from rich.console import Console

        from components.serving.answers.render import render

        print()
        render(answer, Console(highlight=False, file=sys.stdout))


def _line(moment: Moment) -> str:
    from components.serving.answers.words import percent

    at = f"{moment.start_s:7.1f} s  "
    if moment.emotion is None:
        return at + "nothing to judge"
    share = percent(moment.posterior[moment.emotion])
    return f"{at}{moment.emotion:<11}{share:>5}  {' '.join(moment.present)}"
