"""Valid files whose stamps are changed: what recorders, networks and joined files do to a clock.

The stamps of MPEG transport streams and FLV are written over in place, so any will do. The packets of other containers
are stored again, each as it was but with other times; their writers take ascending times alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

MUXERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska", "avi": "avi", "flv": "flv", "mpegts": "mpegts",
    "asf": "asf", "ogg": "ogg",
}  # fmt: skip

SUFFIXES = (".avi", ".flv", ".m4a", ".mkv", ".mov", ".mp4", ".ogg", ".ts", ".webm", ".wmv")  # those that store times
Rng = np.random.Generator
Times = dict[int, np.ndarray]
Change = Callable[[Times, Rng], None]


def _one(times: Times, rng: Rng) -> np.ndarray:
    """The times of one of the streams; a change of them is a change of the file."""
    return times[int(rng.choice(sorted(times)))]


def _jitter(times: Times, rng: Rng) -> None:
    of_stream = _one(times, rng)
    of_stream += rng.uniform(-1, 1, of_stream.size) * 10 ** rng.uniform(-3, 0)


def _jump(times: Times, rng: Rng) -> None:
    """From some time on the clock of every stream is another one."""
    at_s, by_s = rng.uniform(0, 1), rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 5)
    for of_stream in times.values():
        of_stream[of_stream >= at_s] += by_s


def _restart(times: Times, rng: Rng) -> None:
    """Sound and picture restart at nearly the same place, or one of them alone."""
    at_s = rng.uniform(0, 1)
    for of_stream in times.values():
        if rng.random() < 0.8:
            of_stream[of_stream >= at_s] -= at_s + rng.uniform(-0.1, 0.1)


def _wild(times: Times, rng: Rng) -> None:
    of_stream = _one(times, rng)
    for _ in range(int(rng.integers(1, 4))):
        of_stream[int(rng.integers(of_stream.size))] += rng.choice([-1, 1]) * 10 ** rng.uniform(-1, 5)


def _scale(times: Times, rng: Rng) -> None:
    of_stream = _one(times, rng)
    of_stream *= rng.choice([0.0, 0.5, 0.999, 1.001, 2.0, 1000.0])


def _stand_still(times: Times, rng: Rng) -> None:
    of_stream = _one(times, rng)
    of_stream[:] = of_stream[int(rng.integers(of_stream.size))]


def _backwards(times: Times, rng: Rng) -> None:
    of_stream = _one(times, rng)
    of_stream[:] = of_stream[::-1].copy()


def _shuffle(times: Times, rng: Rng) -> None:
    rng.shuffle(_one(times, rng))


def _lack(times: Times, rng: Rng) -> None:
    of_stream = _one(times, rng)
    of_stream[rng.random(of_stream.size) < rng.uniform(0, 1)] = np.nan


CHANGES: tuple[Change, ...] = (
    _jitter, _jump, _jump, _restart, _restart, _wild, _scale, _stand_still, _backwards, _shuffle, _lack,
)  # fmt: skip


def restamp(data: bytes, rng: Rng) -> bytes:
    """The file with its packets' times changed in one way."""
    change = CHANGES[int(rng.integers(len(CHANGES)))]
    seed, keep_decoding = int(rng.integers(1 << 32)), bool(rng.random() < 0.5)
    for find in (_ts_fields, _flv_fields):
        fields = find(data)
        if fields:
            return _overwritten(data, fields, lambda times: change(times, np.random.default_rng(seed)))
    for ascending in (False, True):

        def changed(times: Times, ascending: bool = ascending) -> None:
            change(times, np.random.default_rng(seed))
            for of_stream in times.values():
                of_stream[:] = np.fmax.accumulate(of_stream) if ascending else of_stream

        try:
            return _stored(data, changed, keep_decoding=keep_decoding and not ascending)
        except (av.error.FFmpegError, ValueError, OverflowError, KeyError):
            continue
    return data


def join(data: bytes, rng: Rng) -> bytes:
    """The file several times end to end, each cut somewhere or whole."""
    parts = [data]
    for _ in range(int(rng.integers(1, 5))):
        parts.append(data[: int(rng.integers(len(data) + 1))] if rng.random() < 0.3 else data)
    return b"".join(parts)


MUTATIONS = (restamp, restamp, restamp, join)


@dataclass(frozen=True)
class _Field:
    """A stamp in a file: the stream it is of, how it is read, and how it is written."""

    stream: int
    at: int
    ticks_per_s: int
    read: Callable[[bytes, int], int]
    write: Callable[[bytearray, int, int], None]


def _overwritten(data: bytes, fields: list[_Field], change: Callable[[Times], None]) -> bytes:
    streams = sorted({field.stream for field in fields})
    of_streams = {stream: [field for field in fields if field.stream == stream] for stream in streams}
    times = {
        stream: np.array([field.read(data, field.at) / field.ticks_per_s for field in of_stream])
        for stream, of_stream in of_streams.items()
    }
    change(times)
    written = bytearray(data)
    for stream, of_stream in of_streams.items():
        for field, at_s in zip(of_stream, np.nan_to_num(times[stream]), strict=True):
            field.write(written, field.at, round(float(at_s) * field.ticks_per_s))
    return bytes(written)


def _ts_fields(data: bytes) -> list[_Field]:
    """The stamps of packetised elementary streams (ISO/IEC 13818-1, section 2.4.3.6)."""
    if data[:1] != b"\x47":
        return []
    fields = []
    for start in re.finditer(rb"\x00\x00\x01([\xc0-\xef])..[\x80-\xbf]([\x80\xc0])", data, re.DOTALL):
        for number in range(2 if start[2] == b"\xc0" else 1):
            at = start.end() + 1 + 5 * number
            if at + 5 <= len(data):
                fields.append(_Field(start[1][0], at, 90_000, _read_ts, _write_ts))
    return fields


def _read_ts(data: bytes, at: int) -> int:
    first, second, third, fourth, fifth = data[at : at + 5]
    return (first >> 1 & 7) << 30 | second << 22 | third >> 1 << 15 | fourth << 7 | fifth >> 1


def _write_ts(data: bytearray, at: int, ticks: int) -> None:
    ticks %= 1 << 33
    high = data[at] & 0xF0 | ticks >> 30 << 1 | 1
    middle, low = ticks >> 15 & 0x7FFF, ticks & 0x7FFF
    data[at : at + 5] = bytes([high, middle >> 7, (middle << 1 | 1) & 0xFF, low >> 7, (low << 1 | 1) & 0xFF])


def _flv_fields(data: bytes) -> list[_Field]:
    """The stamps of tags (Adobe Flash Video File Format Specification 10.1, section E.4.1)."""
    fields, at = [], 13
    while data[:3] == b"FLV" and at + 11 <= len(data):
        if data[at] in (8, 9):
            fields.append(_Field(data[at], at + 4, 1000, _read_flv, _write_flv))
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    return fields


def _read_flv(data: bytes, at: int) -> int:
    return data[at + 3] << 24 | int.from_bytes(data[at : at + 3], "big")


def _write_flv(data: bytearray, at: int, ticks: int) -> None:
    stamp = (ticks % (1 << 32)).to_bytes(4, "big")
    data[at : at + 4] = stamp[1:] + stamp[:1]


def _stored(data: bytes, change: Callable[[Times], None], *, keep_decoding: bool) -> bytes:
    sink = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(sink, "w", format=MUXERS[source.format.name]) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        packets = [packet for packet in source.demux() if packet.size]
        shown: dict[int, list[float]] = {}
        for packet in packets:
            stamp = packet.pts if packet.pts is not None else packet.dts or 0
            shown.setdefault(packet.stream.index, []).append(float(stamp * packet.time_base))
        times = {index: np.array(of_stream) for index, of_stream in shown.items()}
        change(times)
        following = {index: iter(of_stream) for index, of_stream in times.items()}
        for packet in packets:
            _give(packet, float(next(following[packet.stream.index])), keep_decoding=keep_decoding)
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    return sink.getvalue()


def _give(packet: Any, at_s: float, *, keep_decoding: bool) -> None:
    stamp = None if np.isnan(at_s) else round(at_s / packet.time_base)
    packet.pts = stamp
    if not keep_decoding:
        packet.dts = stamp
