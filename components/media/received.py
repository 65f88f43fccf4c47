"""What a live stream sent, piece by piece, and the media file that a part of it makes.

A client sends sound (16-bit samples), pictures (JPEG), words and body signals, each with its time. `recorded` lays a
part of that into one Matroska file, without decoding a picture, and one Parquet file, so that a live stream is aligned
by the code that aligns every file. Zero of the file is the start of the part: sound that is missing is digital silence,
which counts as absent, and the picture that was shown when the part began stands at its beginning.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.media.pieces import PICTURE, SIGNALS, SOUND, WORDS, Piece

MILLISECOND = Fraction(1, 1000)
PACKET_S = 0.1
SHORTEST_S = 0.001


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of a stream: [start_s, end_s), and the rate of its sound; None for a stream without sound."""

    start_s: float
    end_s: float
    sound_hz: int | None = None


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A part of a stream as files: Matroska and Parquet, None where there is nothing for them, and words (text, start,
    end) on the part's clock."""

    media: bytes | None
    signals: bytes | None
    words: tuple[tuple[str, float, float], ...]
    has_picture: bool


def recorded(sent: Iterable[Piece], part: Part) -> Recorded:
    """The files of a part of a stream. Reads each piece once; nothing but the header of a picture is decoded.

    Raises:
        MediaError: a picture is not a JPEG (`unsupported-media`).
    """
    sound = _Samples(part)
    pictures: list[tuple[float, bytes]] = []
    before: tuple[float, bytes] | None = None
    words: list[tuple[str, float, float]] = []
    signals: list[Mapping[str, Any]] = []
    for piece in sent:
        if piece.kind == SOUND:
            sound.add(piece)
        elif piece.kind == PICTURE and piece.at_s < part.start_s:
            before = max(before or (piece.at_s, piece.data), (piece.at_s, piece.data), key=lambda shown: shown[0])
        elif piece.kind == PICTURE and piece.at_s < part.end_s:
            pictures.append((piece.at_s - part.start_s, piece.data))
        elif piece.kind == WORDS:
            words += _words(json.loads(piece.data), part)
        elif piece.kind == SIGNALS:
            signals.append(json.loads(piece.data))
    samples = sound.values if sound.arrived else None
    if before is not None or (pictures and samples is None):
        # Without sound the file's zero is its first picture.
        pictures = [(0.0, before[1]), *pictures] if before is not None else [(0.0, pictures[0][1]), *pictures[1:]]
    shown = dict(sorted(((round(at_s * 1000), data) for at_s, data in pictures), key=lambda pair: pair[0]))
    return Recorded(
        media=_matroska(samples, shown, part),
        signals=_parquet(signals, part),
        words=tuple(sorted(words, key=lambda word: word[1:])),
        has_picture=bool(shown),
    )


class _Samples:
    """The sound of a part; what no piece covers is zero."""

    def __init__(self, part: Part) -> None:
        self._rate_hz = part.sound_hz or 0
        self._first = round(part.start_s * self._rate_hz)
        size = round(part.end_s * self._rate_hz) - self._first
        self.values: NDArray[np.int16] = np.zeros(size, dtype="<i2")
        self.arrived = False

    def add(self, piece: Piece) -> None:
        samples = np.frombuffer(piece.data, dtype="<i2")
        start = round(piece.at_s * self._rate_hz) - self._first
        low, high = max(start, 0), min(start + samples.size, self.values.size)
        if low < high:
            self.arrived = True
            self.values[low:high] = samples[low - start : high - start]


def _words(sent: Iterable[Mapping[str, Any]], part: Part) -> Iterator[tuple[str, float, float]]:
    for word in sent:
        start_s, end_s = float(word["start_s"]), float(word["end_s"])
        if end_s > part.start_s and start_s < part.end_s:
            yield str(word["text"]), max(start_s - part.start_s, 0.0), min(end_s, part.end_s) - part.start_s


def _matroska(sound: NDArray[np.int16] | None, pictures: Mapping[int, bytes], part: Part) -> bytes | None:
    """`pictures`: milliseconds from the start of the part → JPEG, in order."""
    if not pictures and sound is None:
        return None
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        packets = []
        if sound is not None:
            stream = container.add_stream("pcm_s16le", rate=part.sound_hz, layout="mono")
            size = round((part.sound_hz or 0) * PACKET_S)
            packets += [
                (round(1000 * first / (part.sound_hz or 1)), stream, sound[first : first + size].tobytes(), PACKET_S)
                for first in range(0, sound.size, size)
            ]
        if pictures:
            width, height = _size(next(iter(pictures.values())))
            stream = container.add_mux_stream("mjpeg", rate=25, width=width, height=height)
            at_ms = [*pictures, max(round(1000 * (part.end_s - part.start_s)), 0)]
            for index, (time_ms, data) in enumerate(pictures.items()):
                packets.append((time_ms, stream, data, max((at_ms[index + 1] - time_ms) / 1000, SHORTEST_S)))
        for time_ms, stream, data, length_s in sorted(packets, key=lambda packet: packet[0]):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, MILLISECOND
            packet.pts = packet.dts = time_ms
            packet.duration = round(1000 * length_s)
            packet.is_keyframe = True
            container.mux(packet)
    return file.getvalue()


def _size(jpeg: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(
            "a picture of the stream is not a JPEG",
            where="stream",
            seen=jpeg[:8].hex(" "),
            allowed="JPEG",
            code=Code.UNSUPPORTED_MEDIA,
        ) from error


def _parquet(sent: list[Mapping[str, Any]], part: Part) -> bytes | None:
    if not sent:
        return None
    names = sorted({name for block in sent for name in block["channels"]})
    times = np.concatenate([np.asarray(block["time_s"], np.float64) for block in sent])
    columns = {
        name: np.concatenate(
            [np.asarray(block["channels"].get(name, [np.nan] * len(block["time_s"])), np.float64) for block in sent]
        )
        for name in names
    }
    within = (times >= part.start_s) & (times < part.end_s)
    if not within.any():
        return None
    order = np.argsort(times[within], kind="stable")
    table = pa.table(
        {"time_s": times[within][order] - part.start_s, **{name: columns[name][within][order] for name in names}}
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
