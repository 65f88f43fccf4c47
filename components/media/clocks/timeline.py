"""One clock for a file whose own clock starts again, jumps, or holds a wild stamp.

Recordings that were put end to end (chained Ogg, joined MPEG transport or program streams), and recorders that were
paused, start their clock again in mid-file. A player shows the parts one after the other. The parts are recognised from
the packets alone, in the file's order; every later one is moved as a whole, so that sound and picture stay in step. A
hole in which stamps go on is not such a seam: it stays a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

# Stamps that go back by more start a new part. Network jitter reaches 0.12 s from packet to packet, and joined files
# overlap by their codecs' padding (0.13 s of AAC at 16 kHz); neither is a restart.
BACK_S = 0.25
# Nothing recorded for longer is a clock that was set anew (joined MPEG streams: hours, up to the 26.5 of its 33 bits).
AHEAD_S = 600.0
WITNESSES = 4  # packets after a jump that must agree with it; otherwise the stamp is wild
PADDING_S = 0.1  # two frames of AAC at 22 kHz: one before the sound, one that fills up its end
MAX_STEPS = 250  # usual ones that a packet may last: a still picture stands for some seconds
SILENT_FIRST = frozenset({"vorbis"})  # codecs whose first packet gives no sound (Vorbis I, section 4.3.8)
NO_TIME = float("-inf")
MAX_PARTS = 1_000
MAX_PACKETS = 500_000  # of both streams in an hour and a half; a longer file is not joined
# Containers whose header does not give the duration: FFmpeg takes it from the first and the last stamp.
STAMPED = frozenset({"ogg", "mpegts", "mpeg"})


class ClockBreak(Exception):  # noqa: N818 - control flow within `media`, never shown
    """The stamps of a file jump: it has to be read with a timeline."""


@dataclass(frozen=True, kw_only=True)
class Seam:
    """From packet number `first` of a stream on, `shift_s` is added to the stamps."""

    first: int
    shift_s: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How the stamps of a file become those of one continuous clock.

    Attributes:
        seams: by the stream's index, ascending; a stream without any keeps its stamps.
        parts: how often the clock was set, at least 1.
        filled: stamps in seconds for packets that have none, by the stream's index and the packet's number there.
        wild: how many stamps were replaced, since the packets around them agree on other times.
        duration_s: from the first packet to the end of the last, None where unknown.
    """

    seams: Mapping[int, tuple[Seam, ...]] = field(default_factory=dict)
    filled: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    parts: int = 1
    wild: int = 0
    duration_s: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether every stamp stays as it is."""
        return not self.seams and not self.filled

    def notes(self) -> list[str]:
        """What was decided, for a person."""
        notes = []
        if self.parts > 1:
            notes.append(f"the file's clock starts again; its {self.parts} parts are placed one after the other")
        if self.wild:
            notes.append(f"timestamps far off those around them, ignored: {self.wild}")
        missing = sum(map(len, self.filled.values()))
        if missing:
            notes.append(f"{missing} pictures have no timestamp; placed between their neighbours")
        return notes

    def restamped(self, packets: Iterable[Any], *, on_seam: Callable[[], None] | None = None) -> Iterator[Any]:
        """The packets of a file from its beginning, with stamps on the continuous clock.

        `on_seam` is called before the first packet of sound after each seam.
        """
        return iter(packets) if self.is_plain else self._restamped(packets, on_seam)

    def _restamped(self, packets: Iterable[Any], on_seam: Callable[[], None] | None) -> Iterator[Any]:
        cursors: dict[int, _Cursor] = {}
        for packet in packets:
            index = packet.stream.index
            if index not in cursors:
                cursors[index] = _Cursor(self.seams.get(index, ()), self.filled.get(index, {}))
            if packet.size:  # not one that flushes a decoder
                passed = cursors[index].passed
                cursors[index].move(packet)
                if on_seam is not None and cursors[index].passed > passed and packet.stream.type == "audio":
                    on_seam()
            yield packet


PLAIN = Timeline()


@dataclass
class _Cursor:
    """Where one stream is while its packets are restamped."""

    seams: tuple[Seam, ...]
    filled: Mapping[int, float]
    number: int = 0
    passed: int = 0

    def move(self, packet: Any) -> None:
        """Gives the stream's next packet its stamps on the continuous clock."""
        while self.passed < len(self.seams) and self.seams[self.passed].first <= self.number:
            self.passed += 1
        if self.number in self.filled:
            packet.pts = packet.dts = round(self.filled[self.number] / packet.time_base)
        ticks = round(self.seams[self.passed - 1].shift_s / packet.time_base) if self.passed else 0
        if ticks and packet.pts is not None:
            packet.pts += ticks
        if ticks and packet.dts is not None:
            packet.dts += ticks
        self.number += 1


@dataclass
class StampWatch:
    """Raises ClockBreak at the first packet that a plain timeline does not fit; the cost is a comparison per packet."""

    last: dict[int, int] = field(default_factory=dict)
    bounds: dict[int, tuple[float, float]] = field(default_factory=dict)

    def note(self, packet: Any) -> None:
        """Compares a packet's stamp with the previous one of its stream, in the stream's ticks."""
        stamp, index = packet.dts, packet.stream.index
        if stamp is None or packet.is_discard:
            if lacks_stamp(packet):
                raise ClockBreak
            return
        before = self.last.get(index)
        if before is None:
            base = packet.time_base or 1
            self.bounds[index] = -BACK_S / base, AHEAD_S / base
        elif not self.bounds[index][0] <= stamp - before <= self.bounds[index][1]:
            raise ClockBreak
        self.last[index] = stamp


def decoding_stamp(packet: Any) -> int | None:
    """A stamp that ascends in the file's order: of decoding; sound is decoded as it is heard."""
    stamp: int | None = packet.dts
    return packet.pts if stamp is None and packet.stream.type == "audio" else stamp


def lacks_stamp(packet: Any) -> bool:
    """Whether a packet holds a picture and no time at all."""
    return bool(packet.size) and packet.stream.type == "video" and packet.pts is None and packet.dts is None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stamp:
    """One packet: its stream and number there, when it is decoded and shown or heard, and for how long.

    The parts of its stream are laid by `start_s`: pictures by decoding where the container says when that is, since a
    stream that was cut lacks some pictures that are shown before others.
    """

    stream: int
    number: int
    picture: bool
    at_s: float
    shown_s: float
    start_s: float
    lasts_s: float


def timeline_of(packets: Iterable[Any]) -> Timeline:
    """The timeline of a file from all of its packets, in the file's order; decodes nothing."""
    counts: dict[int, int] = {}
    missing: dict[int, list[int]] = {}
    running: set[int] = set()
    stamps: list[_Stamp] = []
    for packet in packets:
        if len(stamps) >= MAX_PACKETS:
            return PLAIN
        index = packet.stream.index
        if not packet.size:  # the end of a link flushes its decoder
            running.discard(index)
            continue
        number = counts[index] = counts.get(index, -1) + 1
        if lacks_stamp(packet):
            missing.setdefault(index, []).append(number)
        elif packet.time_base and not packet.is_discard and (packet.pts is not None or packet.dts is not None):
            stamps.append(_stamp(packet, number, first=index not in running))
            running.add(index)
    stamps = _completed(stamps)
    if not stamps:
        return PLAIN
    times_s = {index: [stamp for stamp in stamps if stamp.stream == index] for index in missing}
    filled = {index: _filled(numbers, times_s[index]) for index, numbers in missing.items() if len(times_s[index]) > 1}
    return _Join(stamps).timeline(filled)


def _stamp(packet: Any, number: int, *, first: bool) -> _Stamp:
    picture, base = packet.stream.type == "video", float(packet.time_base)
    stamp = decoding_stamp(packet)
    at_s = None if stamp is None else stamp * base
    shown_s = float((packet.dts if packet.pts is None else packet.pts) * base)
    lasts_s = float((packet.duration or 0) * base)
    # What a decoder drops is not heard, and neither is what Ogg counts below zero: codecs need it to settle.
    unheard_s = 0.0 if picture else max(_skipped_s(packet), -shown_s, 0.0)
    if first and packet.stream.codec_context is not None and packet.stream.codec_context.name in SILENT_FIRST:
        unheard_s = max(unheard_s, lasts_s)
    return _Stamp(
        stream=packet.stream.index,
        number=number,
        picture=picture,
        at_s=NO_TIME if at_s is None else at_s,
        shown_s=shown_s + unheard_s,
        start_s=at_s if picture and at_s is not None else shown_s + unheard_s,
        lasts_s=max(0.0, lasts_s - unheard_s),
    )


def _skipped_s(packet: Any) -> float:
    """How much of a packet's start the decoder drops (the pre-skip of Opus)."""
    rate_hz = packet.stream.codec_context.sample_rate if packet.stream.codec_context is not None else 0
    skips = (bytes(data) for data in packet.iter_sidedata() if data.data_type == "skip_samples")
    return sum(int.from_bytes(skip[:4], "little") for skip in skips) / rate_hz if rate_hz else 0.0


def _filled(numbers: list[int], stamps: list[_Stamp]) -> dict[int, float]:
    """Times for the packets of a stream that have none: evenly between their neighbours, or a usual step apart."""
    at = np.array([stamp.number for stamp in stamps], dtype=np.float64)
    times_s = np.array([stamp.at_s for stamp in stamps])
    step_s = float(np.median(np.diff(times_s) / np.diff(at)))
    lacking = np.array(numbers, dtype=np.float64)
    placed_s = np.interp(lacking, at, times_s)
    placed_s = np.where(lacking < at[0], times_s[0] + (lacking - at[0]) * step_s, placed_s)
    placed_s = np.where(lacking > at[-1], times_s[-1] + (lacking - at[-1]) * step_s, placed_s)
    return dict(zip(numbers, placed_s.tolist(), strict=True))


def _completed(stamps: list[_Stamp]) -> list[_Stamp]:
    """The stamps with what their container does not say.

    The packets of transport streams have no duration: they last as long as is usual in their stream. Matroska stores
    when pictures are shown; FFmpeg derives when they are decoded, for all but the first.
    """
    steps: dict[int, list[float]] = {}
    next_s: dict[int, float] = {}
    derived = {stamp.stream for stamp in stamps if stamp.at_s == NO_TIME}
    completed = []
    for stamp in reversed(stamps):
        at_s = next_s.get(stamp.stream, stamp.shown_s) if stamp.at_s == NO_TIME else stamp.at_s
        step_s = next_s.get(stamp.stream, at_s) - at_s
        if 0 < step_s <= AHEAD_S:
            steps.setdefault(stamp.stream, []).append(step_s)
        next_s[stamp.stream] = at_s
        start_s = stamp.shown_s if stamp.stream in derived else stamp.start_s
        completed.append(replace(stamp, at_s=at_s, start_s=start_s))
    usual_s = {stream: median(of_stream) for stream, of_stream in steps.items()}
    return [_lasting(stamp, usual_s.get(stamp.stream, 0.0)) for stamp in reversed(completed)]


def _lasting(stamp: _Stamp, usual_s: float) -> _Stamp:
    """The packet with its stream's usual duration where its own is missing or absurd."""
    return stamp if 0 < stamp.lasts_s <= MAX_STEPS * usual_s else replace(stamp, lasts_s=usual_s)


@dataclass
class _Part:
    """A stretch of the file on one clock.

    Attributes:
        position_s: the furthest stamp so far.
        start_s, end_s: by stream, on the part's own clock.
        shown_s: when each stream is first shown or heard.
        before_s: how far the streams had come in earlier parts when this one began: (part, time) by stream.
        shift_s: what is added to its stamps.
    """

    position_s: float
    before_s: dict[int, tuple[int, float]] = field(default_factory=dict)
    start_s: dict[int, float] = field(default_factory=dict)
    end_s: dict[int, float] = field(default_factory=dict)
    shown_s: dict[int, float] = field(default_factory=dict)
    shift_s: float = 0.0

    def add(self, stamp: _Stamp) -> None:
        """Takes a packet in."""
        start_s, end_s = stamp.start_s, stamp.start_s + stamp.lasts_s
        self.position_s = max(self.position_s, stamp.at_s)
        self.start_s[stamp.stream] = min(start_s, self.start_s.get(stamp.stream, start_s))
        self.end_s[stamp.stream] = max(end_s, self.end_s.get(stamp.stream, end_s))
        self.shown_s[stamp.stream] = min(stamp.shown_s, self.shown_s.get(stamp.stream, stamp.shown_s))


@dataclass
class _Reading:
    """Where one stream is: its part, its last stamp and step, and the stamps that are still to come."""

    ahead_s: list[float] = field(default_factory=list)
    part: int = 0
    last_s: float | None = None
    step_s: float = 0.0
    number: int = 0

    def is_wild(self, at_s: float, last_s: float) -> bool:
        """Whether the packets that follow go on from the last stamp, not from this one."""
        following = self.ahead_s[self.number + 1 : self.number + 1 + WITNESSES]
        if not following:  # nothing bears out a jump of the last packet
            return not -BACK_S <= at_s - last_s <= AHEAD_S
        next_s = median(following)
        return abs(next_s - last_s) < abs(next_s - at_s)

    def begins_wild(self, at_s: float, others_s: Sequence[float]) -> bool:
        """Whether a stream's first stamp is far from those that follow, which the beginnings of the others bear out."""
        following = self.ahead_s[1 : 1 + WITNESSES]
        if len(following) < WITNESSES or not others_s:
            return False
        next_s = median(following)
        agree = max(following) - min(following) <= AHEAD_S < abs(at_s - next_s)
        return agree and all(abs(next_s - other_s) < abs(at_s - other_s) for other_s in others_s)

    def expected_s(self) -> float:
        """Where the stream's next packet lies in place of a wild stamp: a step after the last, or before the second."""
        if self.last_s is not None:
            return self.last_s + self.step_s
        return self.ahead_s[1] - max(0.0, self.ahead_s[2] - self.ahead_s[1])

    def go_on(self, at_s: float, part: int) -> None:
        """Passes a packet."""
        if part == self.part and self.last_s is not None:
            self.step_s = max(0.0, at_s - self.last_s)
        self.part, self.last_s = part, at_s
        self.number += 1


class _Join:
    """Sorts the packets of a file into parts and lays these end to end."""

    def __init__(self, stamps: list[_Stamp]) -> None:
        self.readings: dict[int, _Reading] = {}
        self.parts = [_Part(position_s=stamps[0].at_s)]
        self.shifted: list[tuple[_Stamp, int, float]] = []  # packet, part, and how far it is from its true time
        self.wild = 0
        for stamp in stamps:
            self.readings.setdefault(stamp.stream, _Reading()).ahead_s.append(stamp.at_s)
        for stamp in stamps:
            self._sort_in(stamp, self.readings[stamp.stream])

    def _sort_in(self, stamp: _Stamp, reading: _Reading) -> None:
        part = self._part_of(stamp, reading)
        if part is None:
            self.wild += 1
            part, expected_s = reading.part, reading.expected_s()
            self.shifted.append((stamp, part, expected_s - stamp.at_s))
            reading.go_on(expected_s, part)
            return
        if part == len(self.parts):
            self.parts.append(_Part(position_s=stamp.at_s, before_s=self._reached()))
        self.parts[part].add(stamp)
        self.shifted.append((stamp, part, 0.0))
        reading.go_on(stamp.at_s, part)

    def _part_of(self, stamp: _Stamp, reading: _Reading) -> int | None:
        """The number of the part a packet belongs to, `len(parts)` for a new one, None for a wild stamp."""
        newest = len(self.parts) - 1
        if reading.last_s is None:
            others_s = [other.ahead_s[0] for other in self.readings.values() if other is not reading]
            return None if reading.begins_wild(stamp.at_s, others_s) else newest
        away_s = stamp.at_s - reading.last_s
        if reading.part < newest and abs(stamp.at_s - self.parts[newest].position_s) < abs(away_s) > BACK_S:
            return newest  # another stream has entered it already
        if abs(away_s) > BACK_S and reading.is_wild(stamp.at_s, reading.last_s):
            return None
        ahead_s = stamp.at_s - max(reading.last_s, self.parts[reading.part].position_s)
        if (away_s >= -BACK_S and ahead_s <= AHEAD_S) or len(self.parts) >= MAX_PARTS:
            return reading.part
        return newest + 1

    def _reached(self) -> dict[int, tuple[int, float]]:
        return {
            stream: (reading.part, reading.last_s)
            for stream, reading in self.readings.items()
            if reading.last_s is not None
        }

    def timeline(self, filled: Mapping[int, Mapping[int, float]]) -> Timeline:
        """The file's timeline."""
        pictures = {stamp.stream for stamp, _, _ in self.shifted if stamp.picture}
        ends = dict(self.parts[0].end_s)
        for part in self.parts[1:]:
            part.shift_s = self._shift_s(part, ends, pictures)
            for stream, end_s in part.end_s.items():
                ends[stream] = max(end_s + part.shift_s, ends.get(stream, end_s + part.shift_s))
        starts = [start_s + part.shift_s for part in self.parts for start_s in part.start_s.values()]
        return Timeline(
            seams=self._seams(),
            filled=filled,
            parts=len(self.parts),
            wild=self.wild,
            duration_s=max(ends.values()) - min(starts),
        )

    def _shift_s(self, part: _Part, ends: dict[int, float], pictures: set[int]) -> float:
        """How much later than its stamps a part is: it begins where none of its streams overlaps what came before.

        The sound may stick out by its codec's padding, which a picture does not wait for.
        """
        behind = {stream: ends[stream] - start_s for stream, start_s in part.start_s.items() if stream in ends}
        first_s = min(part.start_s.values())
        # A stream that is not in the part holds it back only as far as it had come when the part began.
        behind |= {
            stream: before_s + self.parts[number].shift_s - first_s
            for stream, (number, before_s) in part.before_s.items()
            if stream not in part.start_s
        }
        latest_s = max(behind.values(), default=0.0)
        lead_s = max((behind[stream] for stream in pictures & behind.keys() & part.start_s.keys()), default=latest_s)
        return lead_s if latest_s - lead_s <= PADDING_S else latest_s

    def _seams(self) -> dict[int, tuple[Seam, ...]]:
        seams: dict[int, list[Seam]] = {}
        for stamp, part, off_s in self.shifted:
            of_stream = seams.setdefault(stamp.stream, [])
            shift_s = self.parts[part].shift_s + off_s + self._early_s(stamp, part)
            if shift_s != (of_stream[-1].shift_s if of_stream else 0.0):
                of_stream.append(Seam(first=stamp.number, shift_s=shift_s))
        return {stream: tuple(of_stream) for stream, of_stream in seams.items() if of_stream}

    def _early_s(self, stamp: _Stamp, part: int) -> float:
        """Brings a picture forward that would be shown within the next part, since those before it were cut off."""
        if not stamp.picture or part + 1 == len(self.parts):
            return 0.0
        following = self.parts[part + 1]
        limit_s = following.shown_s.get(stamp.stream, float("inf")) + following.shift_s - stamp.lasts_s
        return min(0.0, limit_s - stamp.shown_s - self.parts[part].shift_s)
