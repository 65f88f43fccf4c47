"""One live stream: what has arrived, which steps are due, and what came out. No socket, no thread, no clock.

Steps are due when the media that were announced have arrived up to their end, but none waits more than `LAG_S` behind
the newest. What is late counts as context of later steps, and for the answer of the whole stream. At least `every_s`
is judged at a time; where judging takes longer than that, more is due at a time and its context costs less, so that a
slow machine answers later rather than fall behind. Only the pieces that are due or context are in memory.
"""

from __future__ import annotations

import math
import secrets
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from components.contracts.codes import Code
from components.contracts.config import MediaLimits, Serving
from components.contracts.errors import MediaError
from components.contracts.timebase import STEP_SLACK
from components.media.pieces import PICTURE, SAMPLE_BYTES, SIGNALS, SOUND, WORDS, Piece, packed
from components.serving.answers.schemas import Moment
from components.serving.live.protocol import (
    LATER_TEXTS,
    WHERE,
    Begin,
    End,
    SentWord,
    Signals,
    Words,
    bad_message,
    binary_message,
    text_message,
)
from components.serving.live.wire import Ask, Reply

LAG_S = 1.0
MOST_S = 5.0  # judged at a time
BEHIND_S = 5.0  # how much longer than its context a group of samples stays
GAP_S = 60.0
# A client that is further ahead waits. Not sooner: what is not read holds up its answers to pings, too, without which
# the server closes the connection.
FULL_BYTES = 12 << 20
KEPT_BYTES = 16 << 20
PIECE_BYTES = 200  # what a piece costs besides its data
KEPT_STEPS = 6000
SAID_WORDS, SAID_CHARACTERS = 50, 1000  # the newest, which show the language
IN_MEMORY_BYTES = 1 << 20
# Kind of a piece → what of the first message announces it.
ANNOUNCED = {SOUND: "sound", PICTURE: "pictures", WORDS: "words", SIGNALS: "signals"}


def _nameless() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # closed with the session


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """How streams are judged, and what one may cost; of the section `serving`.

    `max_s` is the longest stream without an answer of the whole; one with it may be as long as a clip.
    """

    every_s: float
    context_s: float
    max_s: float
    limits: MediaLimits

    @classmethod
    def of(cls, serving: Serving) -> StreamSettings:
        """Of a configuration."""
        return cls(
            every_s=serving.stream_every_s,
            context_s=serving.stream_context_s,
            max_s=serving.stream_max_s,
            limits=serving.upload_limits,
        )


@dataclass(kw_only=True)
class Session:
    """The state of one stream.

    Attributes:
        begin: the first message.
        settings: of the service.
        rate_hz: steps per second.
        ends_s: kind of piece → up to when it has arrived.
        judged_s: up to when steps have come out.
        ended: whether the client has sent everything.
        moments: the newest steps, as far as they are kept, the first of which has the number `first`.
        notes: what could not be used of what was sent, in the order in which that was noticed.
    """

    begin: Begin
    settings: StreamSettings
    rate_hz: float
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    ends_s: dict[bytes, float] = field(default_factory=dict)
    judged_s: float = 0.0
    ended: bool = False
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=KEPT_STEPS))
    steps: int = 0
    notes: list[str] = field(default_factory=list)
    received_bytes: int = 0
    file: IO[bytes] = field(default_factory=_nameless)
    _kept: list[Piece] = field(default_factory=list)
    _kept_bytes: int = 0
    _past: bytes = b""
    _past_of: str = ""
    _words: deque[SentWord] = field(default_factory=lambda: deque(maxlen=SAID_WORDS))

    @property
    def first(self) -> int:
        """The number of the first step that is kept."""
        return self.steps - len(self.moments)

    @property
    def end_s(self) -> float:
        """Up to when anything has arrived."""
        return max(self.ends_s.values(), default=0.0)

    @property
    def full(self) -> bool:
        """Whether the client must wait before it sends more."""
        return not self.ended and self._kept_bytes > FULL_BYTES

    def take(self, message: str | bytes) -> None:
        """One message of the client.

        Raises:
            DataError: it is not one of the protocol, or not one that was announced (`bad-request`, `too-large`).
            MediaError: the stream is over a limit (`too-long`, `too-large`).
        """
        if self.ended:
            raise bad_message("the stream has ended", seen="a message after `end`")
        if isinstance(message, bytes):
            piece = binary_message(message)
            self._add(piece, self._piece_end_s(piece))
            return
        sent = text_message(message, LATER_TEXTS)
        if isinstance(sent, Words):
            for word in sent.words:
                if word.end_s < word.start_s:
                    raise bad_message("a word ends before it starts", seen=f"{word.start_s:g} to {word.end_s:g} s")
            at_s = min((word.start_s for word in sent.words), default=0.0)
            data = "[" + ",".join(word.model_dump_json() for word in sent.words) + "]"
            end_s = max((word.end_s for word in sent.words), default=0.0)
            self._add(Piece(kind=WORDS, at_s=at_s, data=data.encode()), end_s)
            self._words.extend(sent.words)
        elif isinstance(sent, Signals):
            if any(len(values) != len(sent.time_s) for values in sent.channels.values()):
                raise bad_message("a channel has not one value per time", allowed=f"{len(sent.time_s)} values")
            data = sent.model_dump_json(exclude={"type"})
            self._add(Piece(kind=SIGNALS, at_s=min(sent.time_s), data=data.encode()), max(sent.time_s))
        elif isinstance(sent, End):
            self.ended = True

    def _piece_end_s(self, piece: Piece) -> float:
        if piece.kind == PICTURE or self.begin.sound is None:
            return piece.at_s
        return piece.at_s + len(piece.data) / (SAMPLE_BYTES * self.begin.sound.rate_hz)

    def _add(self, piece: Piece, end_s: float) -> None:
        announced = ANNOUNCED[piece.kind]
        if not getattr(self.begin, announced):
            raise bad_message("this was not announced in the first message", seen=announced)
        if end_s > self.end_s + GAP_S:
            raise bad_message("a time is too far ahead", seen=f"{end_s:.1f} s", allowed=f"{self.end_s + GAP_S:.1f} s")
        self._check_length(end_s)
        record = packed(piece)
        self.received_bytes += len(record)
        if self.begin.answer:
            if self.received_bytes > self.settings.limits.max_bytes:
                raise _too_large(f"more than {self.settings.limits.max_bytes} bytes in all")
            self.file.write(record)
        self._kept.append(piece)
        self._kept_bytes += len(record) + PIECE_BYTES
        if self._kept_bytes > KEPT_BYTES:
            raise _too_large(f"more than {KEPT_BYTES} bytes in the last few seconds")
        self.ends_s[piece.kind] = max(self.ends_s.get(piece.kind, 0.0), end_s)

    def _check_length(self, end_s: float) -> None:
        longest_s = self.settings.limits.max_duration_s if self.begin.answer else self.settings.max_s
        if end_s > longest_s:
            raise MediaError(
                "the stream is too long",
                where=WHERE,
                seen=f"{end_s:.1f} s",
                allowed=f"at most {longest_s:g} s"
                + (f", or {self.settings.max_s:g} s without an answer of the whole" if self.begin.answer else ""),
                remedy="End it and begin a new one.",
                code=Code.TOO_LONG,
            )

    @property
    def _ready_s(self) -> float:
        """Up to when everything that was announced has arrived; words and signals never keep others waiting."""
        media = [kind for kind in (SOUND, PICTURE) if getattr(self.begin, ANNOUNCED[kind])]
        arrived_s = min((self.ends_s.get(kind, 0.0) for kind in media), default=self.end_s)
        return self.end_s if self.ended else max(arrived_s, self.end_s - LAG_S)

    def due(self) -> Ask | None:
        """What is to be judged now; None while too little has arrived. The last steps are due once the client has
        ended, however few."""
        step = 1.0 / self.rate_hz
        count = (self._ready_s - self.judged_s) * self.rate_hz
        steps = math.ceil(count - STEP_SLACK) if self.ended else math.floor(count + STEP_SLACK)
        if steps <= 0 or (not self.ended and steps * step < self.settings.every_s - STEP_SLACK):
            return None
        end_s = round(self.judged_s + min(steps * step, MOST_S), 6)
        return Ask(
            start_s=round(max(0.0, self.judged_s - self.settings.context_s), 6),
            new_s=self.judged_s,
            end_s=end_s,
            sound_hz=self._sound_hz,
            past_of=self._past_of,
            past_bytes=len(self._past),
            said=self._said(end_s),
        )

    def _said(self, until_s: float) -> str:
        said = sorted((word for word in self._words if word.start_s < until_s), key=lambda word: word.start_s)
        return " ".join(word.text for word in said)[-SAID_CHARACTERS:]

    def whole(self) -> Ask | None:
        """What the answer of the whole stream needs; None where the client wants none."""
        if not self.begin.answer:
            return None
        return Ask(start_s=0.0, new_s=0.0, end_s=self.end_s, sound_hz=self._sound_hz, whole=True)

    @property
    def _sound_hz(self) -> int | None:
        return None if self.begin.sound is None else self.begin.sound.rate_hz

    def content(self, ask: Ask) -> Iterator[bytes]:
        """The past and the pieces that go with a request."""
        if ask.whole:
            self.file.seek(0)
            while block := self.file.read(1 << 20):
                yield block
            return
        yield self._past
        for piece in self._kept:
            yield packed(piece)

    def took(self, ask: Ask, reply: Reply, past: bytes) -> None:
        """What came back for a request of `due`."""
        self._past, self._past_of = past, reply.bundle_sha256
        self.notes += [note for note in reply.notes if note not in self.notes]
        self.moments.extend(reply.moments)
        self.steps += len(reply.moments)
        self.judged_s = ask.end_s
        self._forget(self.judged_s - self.settings.context_s)

    def _forget(self, before_s: float) -> None:
        """Drops the pieces that end before a time, but for the last picture, which was still shown then."""
        shown = max((piece.at_s for piece in self._kept if piece.kind == PICTURE and piece.at_s <= before_s), default=0)
        self._kept = [
            piece
            for piece in self._kept
            if self._last_s(piece) > before_s or (piece.kind == PICTURE and piece.at_s == shown)
        ]
        self._kept_bytes = sum(len(piece.data) + PIECE_BYTES for piece in self._kept)

    def _last_s(self, piece: Piece) -> float:
        if piece.kind in (SOUND, PICTURE):
            return self._piece_end_s(piece)
        # A group of words or samples stays while its beginning is near.
        return piece.at_s + GAP_S if piece.kind == WORDS else piece.at_s + self.settings.context_s + BEHIND_S

    def since(self, step: int) -> tuple[int, tuple[Moment, ...]]:
        """The steps from a number on, as far as they are kept, and the number of the first."""
        first = min(max(step, self.first), self.steps)
        return first, tuple(self.moments)[first - self.first :]

    def close(self) -> None:
        """Lets go of what was received."""
        self.file.close()
        self._kept.clear()


def _too_large(seen: str) -> MediaError:
    return MediaError(
        "the stream is too large", where=WHERE, seen=seen, remedy="Send smaller or fewer pictures.", code=Code.TOO_LARGE
    )
