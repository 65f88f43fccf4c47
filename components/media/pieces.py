"""The pieces that a live stream sends, and a file of them, one after the other.

No media library here: a proxy keeps pieces and looks into none; `received.py` makes media files of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from components.contracts.codes import Code
from components.contracts.errors import MediaError

SOUND, PICTURE, WORDS, SIGNALS = b"S", b"P", b"W", b"B"
SAMPLE_BYTES = 2
# Kind, time in seconds and number of bytes of a piece; big-endian.
HEAD = struct.Struct(">cdI")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """`data` of a kind at a time on the stream's clock: samples (int16, little-endian), a JPEG, or JSON."""

    kind: bytes
    at_s: float
    data: bytes


def packed(piece: Piece) -> bytes:
    """A piece as `pieces` reads it."""
    return HEAD.pack(piece.kind, piece.at_s, len(piece.data)) + piece.data


def pieces(stream: IO[bytes]) -> Iterator[Piece]:
    """The pieces of a file, from where it stands to its end. Raises MediaError (`truncated`) where it breaks off."""
    while head := stream.read(HEAD.size):
        kind, at_s, size = HEAD.unpack(head) if len(head) == HEAD.size else (b"", 0.0, 1)
        data = stream.read(size)
        if len(data) < size:
            raise MediaError("the pieces of a stream break off", where="stream", seen=len(data), code=Code.TRUNCATED)
        yield Piece(kind=kind, at_s=at_s, data=data)
