"""The messages of a live stream; `docs/stream.md` has examples of all of them.

Texts are JSON with a `type`. Sound and pictures are binary: one byte for the kind, eight for the time (a big-endian
float64, seconds), then the samples or the JPEG. All times are seconds on one clock of the client, whose zero is the
stream's; the answer counts from it too.
"""

from __future__ import annotations

import math
import struct
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.media.pieces import PICTURE, SAMPLE_BYTES, SOUND, Piece
from components.serving.answers.schemas import Answer, Moment, ProblemDetail, Record

WHERE = "stream"
HEAD = struct.Struct(">cd")
SUBPROTOCOL = "mer.stream"
MAX_MESSAGE_BYTES = 4 << 20
MAX_WORDS, MAX_SAMPLES, MAX_CHANNELS = 1000, 20_000, 32
MAX_TEXT = 200
# Close codes of RFC 6455, section 7.4.1, and of the IANA registry.
DONE, REFUSED, BROKEN, LATER = 1000, 1008, 1011, 1013

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Sent(BaseModel):
    """A part of a message from a client; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SoundFormat(Sent):
    """One channel of 16-bit samples, little-endian."""

    rate_hz: int = Field(ge=8000, le=48_000)
    format: Literal["s16le"] = "s16le"


class Begin(Sent):
    """The first message: what the client will send, and whether it wants the answer of the whole at the end."""

    type: Literal["begin"]
    sound: SoundFormat | None = None
    pictures: bool = False
    words: bool = False
    signals: bool = False
    answer: bool = True


class Resume(Sent):
    """The first message after a broken connection: the stream's token, and how many steps have arrived."""

    type: Literal["resume"]
    token: str = Field(max_length=64)
    steps: int = Field(ge=0)


class SentWord(Sent):
    """One spoken word."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    start_s: Seconds
    end_s: Seconds


class Words(Sent):
    """Words that were spoken."""

    type: Literal["words"]
    words: tuple[SentWord, ...] = Field(max_length=MAX_WORDS, strict=False)


class Signals(Sent):
    """Samples of body signals: a time for each, and the channels' values, as many."""

    type: Literal["signals"]
    time_s: tuple[Seconds, ...] = Field(min_length=1, max_length=MAX_SAMPLES, strict=False)
    channels: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,30}$")], tuple[float, ...]] = Field(
        min_length=1, max_length=MAX_CHANNELS, strict=False
    )


class End(Sent):
    """Nothing more comes."""

    type: Literal["end"]


FIRST: dict[str, type[Sent]] = {"begin": Begin, "resume": Resume}
LATER_TEXTS: dict[str, type[Sent]] = {"words": Words, "signals": Signals, "end": End}


class Begun(Record):
    """The stream has begun, or goes on: `sound_s` and `pictures_s` say up to which time each has arrived."""

    type: Literal["begun"] = "begun"
    token: str = Field(description="For `resume` after a broken connection.")
    resume_within_s: float
    name: str
    version: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    rate_hz: float = Field(description="Steps per second.")
    causal: bool = Field(description="Whether the version judges each step from those before it alone.")
    sound_s: float = 0.0
    pictures_s: float = 0.0


class Steps(Record):
    """Steps that were judged; `first` is the number of the first of them, from 0."""

    type: Literal["steps"] = "steps"
    first: int
    moments: tuple[Moment, ...] = Field(description="As the timeline of an answer.")
    notes: tuple[str, ...] = Field(
        (), description="What could not be used of what was sent, as the notes of an answer; each once per connection."
    )


class Whole(Record):
    """The answer of the whole stream, as for a clip."""

    type: Literal["answer"] = "answer"
    answer: Answer


class Ended(Record):
    """The end of a stream without an answer of the whole."""

    type: Literal["ended"] = "ended"
    steps: int
    notes: tuple[str, ...] = Field((), description="All of the stream.")


class Trouble(Record):
    """Why the stream ends; the connection is closed after it."""

    type: Literal["problem"] = "problem"
    error: ProblemDetail
    request_id: str | None = None


def text_message(text: str, kinds: dict[str, type[Sent]]) -> Sent:
    """A message of one of these kinds. Raises DataError (`bad-request`)."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise too_large_message(len(text))
    try:
        kind = Kind.model_validate_json(text).type
        if kind not in kinds:
            raise bad_message("no message of this type is due", seen=kind, allowed=", ".join(kinds))
        return kinds[kind].model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise bad_message("a message cannot be read", seen=f"{place}: {first['msg']}".removeprefix(": ")) from error


class Kind(BaseModel):
    """The type of a message."""

    type: str = Field(max_length=MAX_TEXT)


def binary_message(data: bytes) -> Piece:
    """A piece of sound or a picture. Raises DataError (`bad-request`, `too-large`)."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise too_large_message(len(data))
    if len(data) <= HEAD.size:
        raise bad_message("a binary message is too short", seen=f"{len(data)} bytes", allowed=f"more than {HEAD.size}")
    kind, at_s = HEAD.unpack_from(data)
    if kind not in (SOUND, PICTURE):
        raise bad_message("a binary message is of no known kind", seen=repr(kind), allowed="S (sound), P (picture)")
    if not math.isfinite(at_s) or at_s < 0:
        raise bad_message("a time is not a number of seconds from the stream's zero", seen=str(at_s))
    payload = bytes(data[HEAD.size :])
    if kind == SOUND and len(payload) % SAMPLE_BYTES:
        raise bad_message("sound has half a sample", seen=f"{len(payload)} bytes")
    return Piece(kind=kind, at_s=at_s, data=payload)


def binary(piece: Piece) -> bytes:
    """The message of a piece."""
    return HEAD.pack(piece.kind, piece.at_s) + piece.data


def bad_message(what: str, *, seen: str | None = None, allowed: str | None = None) -> DataError:
    """The refusal of a message that is not one of the protocol."""
    return DataError(
        what, where=WHERE, seen=seen, allowed=allowed, remedy="docs/stream.md has an example.", code=Code.BAD_REQUEST
    )


def too_large_message(size: int) -> DataError:
    """The refusal of a message that is over the limit."""
    return DataError(
        "a message is too large", where=WHERE, seen=f"{size} bytes", allowed=f"at most {MAX_MESSAGE_BYTES} bytes",
        remedy="Send sound in shorter pieces, and smaller pictures.", code=Code.TOO_LARGE,
    )  # fmt: skip
