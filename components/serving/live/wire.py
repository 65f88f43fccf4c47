"""What a proxy asks of a replica about a live stream, and what comes back; neither leaves the service.

A request is a line of JSON (`Ask`), the past of the stream (`inference.live`), and the pieces that were sent
(`media.received`). A reply is a line of JSON (`Reply`) and the new past; of the whole stream it is the `Answer`.
Everything that a replica must remember comes with the request, so any replica can take any part of any stream, and one
that dies loses nothing.
"""

from __future__ import annotations

from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.serving.answers.schemas import Moment

MAX_LINE_BYTES = 1 << 16
NEWLINE = b"\n"


class Part(BaseModel):
    """A message between a proxy and a replica."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ask(Part):
    """Judge the steps of [new_s, end_s), with what was sent from start_s on; or all of it, with `whole`.

    `past_of` is the bundle that the past was made with: a different version begins without one. `said` is the end of
    what was said up to `end_s`: the few words of a part may not show their language.
    """

    start_s: float
    new_s: float
    end_s: float
    sound_hz: int | None = None
    whole: bool = False
    past_of: str = ""
    past_bytes: int = 0
    said: str = ""


class Reply(Part):
    """The moments of the new steps, on the stream's clock; and what could not be used."""

    moments: tuple[Moment, ...]
    bundle_sha256: str
    notes: tuple[str, ...] = ()


def head(ask: Ask) -> bytes:
    """The first line of a request."""
    return ask.model_dump_json().encode() + NEWLINE


def read_ask(file: IO[bytes]) -> tuple[Ask, bytes]:
    """The request at the beginning of a file, and the past; the file then stands at the pieces. Raises DataError."""
    try:
        ask = Ask.model_validate_json(file.readline(MAX_LINE_BYTES))
    except ValidationError as error:
        raise DataError("not a part of a stream", where="stream", seen=str(error), code=Code.BAD_REQUEST) from error
    return ask, file.read(ask.past_bytes)


def reply(value: Reply, past: bytes) -> bytes:
    """A reply as `read_reply` reads it."""
    return value.model_dump_json().encode() + NEWLINE + past


def read_reply(body: bytes) -> tuple[Reply, bytes]:
    """A replica's reply, and the new past."""
    line, _, past = body.partition(NEWLINE)
    return Reply.model_validate_json(line), past
