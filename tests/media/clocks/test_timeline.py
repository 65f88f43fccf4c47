"""One clock from stamps that restart, jump or lack: told from the packets alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.media.clocks.timeline import ClockBreak, StampWatch, Timeline, timeline_of

MS = 1000
PICTURE, SOUND = 0, 1


@dataclass
class Stored:
    """What a timeline reads of a packet; times in milliseconds."""

    stream: Any
    pts: int | None
    dts: int | None
    duration: int
    time_base: float = 1 / MS
    size: int = 1
    is_discard: bool = False

    def iter_sidedata(self) -> Iterable[Any]:
        return ()


def _stored(index: int, at_s: float | None, lasts_s: float) -> Stored:
    kind = ("video", "audio")[index]
    stamp = None if at_s is None else round(at_s * MS)
    return Stored(SimpleNamespace(index=index, type=kind, codec_context=None), stamp, stamp, round(lasts_s * MS))


def pictures(start_s: float, seconds: float) -> list[Stored]:
    return [_stored(PICTURE, start_s + k / 25, 0.04) for k in range(round(seconds * 25))]


def sound(start_s: float, seconds: float) -> list[Stored]:
    return [_stored(SOUND, start_s + k * 0.02, 0.02) for k in range(round(seconds / 0.02))]


def interleaved(*streams: Sequence[Stored]) -> list[Stored]:
    return sorted((packet for stream in streams for packet in stream), key=lambda packet: packet.dts or 0)


def moved(packet: Stored, by_s: float) -> Stored:
    return replace(packet, pts=(packet.pts or 0) + round(by_s * MS), dts=(packet.dts or 0) + round(by_s * MS))


def both(start_s: float, seconds: float, *, late_s: float = 0.0) -> list[Stored]:
    return interleaved(pictures(start_s, seconds), sound(start_s + late_s, seconds))


def breaks(packets: Iterable[Stored]) -> bool:
    watch = StampWatch()
    try:
        for packet in packets:
            watch.note(packet)
    except ClockBreak:
        return True
    return False


def on_one_clock(packets: Sequence[Stored]) -> tuple[Timeline, dict[int, np.ndarray]]:
    """The timeline, and the stamps of each stream as it makes them; seconds."""
    timeline = timeline_of(packets)
    times: dict[int, list[float]] = {}
    for packet in timeline.restamped(replace(packet) for packet in packets):
        assert packet.pts is not None
        times.setdefault(packet.stream.index, []).append(packet.pts / MS)
    return timeline, {index: np.array(of_stream) for index, of_stream in times.items()}


ORDINARY = {
    "one recording": both(0, 4),
    "late sound": both(0, 4, late_s=1.3),
    "a gap of a minute": [*both(0, 2), *both(62, 2)],
    "sound that is muted for a quarter of an hour": interleaved(
        [_stored(PICTURE, at, 1.0) for at in range(904)], sound(0, 1), sound(902, 2)
    ),
    "joined files that overlap by their padding": [*sound(0, 2), *sound(1.87, 2)],
    "sound stored after the pictures": [*pictures(0, 4), *sound(0, 4)],
}


@pytest.mark.parametrize("packets", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_clocks_are_left_alone(packets: list[Stored]) -> None:
    timeline = timeline_of(packets)
    assert timeline.is_plain
    assert timeline.notes() == []
    assert list(timeline.restamped(packets)) == packets


def test_the_watch_is_silent_where_nothing_jumps() -> None:
    assert not breaks(both(0, 4, late_s=1.3))
    assert not breaks([*both(0, 2), *both(62, 2)])


RESTARTS = {
    "to zero": [*both(0, 2), *both(0, 2)],
    "to where it began": [*both(700, 2), *both(700, 2)],
    "back a little": [*both(10, 2), *both(11, 2)],
    "hours ahead": [*both(0, 2), *both(8000, 2)],
    "a wrap of 33 bits": [*both(70, 2), *both(95_443.7, 2)],
    "sound and picture apart": [*both(1.4, 2), *both(0.2, 2, late_s=0.02)],
    "the last sound after the first picture of the next part": [
        *both(0, 2)[:-1], *pictures(0, 2)[:1], sound(0, 2)[-1], *interleaved(pictures(0, 2)[1:], sound(0, 2)),
    ],
    "sound alone": [*sound(0, 2), *sound(0, 2)],
    "pictures alone": [*pictures(0, 2), *pictures(0, 2)],
}  # fmt: skip


@pytest.mark.parametrize("packets", RESTARTS.values(), ids=RESTARTS.keys())
def test_parts_follow_each_other_without_a_gap(packets: list[Stored]) -> None:
    assert breaks(packets)
    timeline, times = on_one_clock(packets)
    assert timeline.parts == 2
    assert "2 parts" in timeline.notes()[0]
    steps = {PICTURE: 0.04, SOUND: 0.02}
    for index, of_stream in times.items():
        assert np.diff(of_stream) == pytest.approx(steps[index], abs=0.0211), index
    assert timeline.duration_s == pytest.approx(4.0, abs=0.021)


def test_sound_and_picture_of_a_part_are_moved_alike() -> None:
    packets = [*both(1.4, 2), *both(0.2, 2, late_s=0.3), *both(0.9, 3, late_s=-0.1)]
    timeline, times = on_one_clock(packets)
    assert timeline.parts == 3
    first = times[SOUND][100] - times[PICTURE][50]
    assert first == pytest.approx(0.3, abs=1e-6)
    assert times[SOUND][200] - times[PICTURE][100] == pytest.approx(-0.1, abs=1e-6)


def test_only_the_stream_that_restarts_is_moved() -> None:
    later = [moved(packet, -2.0) if packet.stream.index == SOUND else packet for packet in both(2, 2)]
    _, times = on_one_clock([*both(0, 2), *later])
    assert np.diff(times[PICTURE]) == pytest.approx(0.04)
    assert np.diff(times[SOUND]) == pytest.approx(0.02, abs=0.021)


def test_many_parts() -> None:
    timeline, times = on_one_clock([packet for _ in range(50) for packet in both(3.0, 0.4)])
    assert timeline.parts == 50
    assert timeline.duration_s == pytest.approx(20.0)
    assert np.diff(times[PICTURE]) == pytest.approx(0.04)


@pytest.mark.parametrize("off_s", [-7.0, -0.6, 5.0, 4000.0])
@pytest.mark.parametrize("number", [7, 150])
def test_a_wild_stamp_takes_its_neighbours_time(off_s: float, number: int) -> None:
    packets = both(10, 4)
    wild = round((10 + off_s) * MS)
    packets[number] = replace(packets[number], pts=wild + number, dts=wild + number)
    timeline, times = on_one_clock(packets)
    assert (timeline.parts, timeline.wild) == (1, 1) if abs(off_s) > 0.25 else (1, 0)
    _, truth = on_one_clock(both(10, 4))
    for index, of_stream in times.items():
        assert of_stream == pytest.approx(truth[index], abs=0.001)


@pytest.mark.parametrize("number", [0, 1])
def test_a_wild_first_stamp_lies_before_the_second(number: int) -> None:
    """Weeks of a counter that ran on, of which the first packet of one stream shows nothing."""
    packets = interleaved(pictures(2_000_000, 2), sound(2_000_000, 2))
    packets[number] = replace(packets[number], pts=55, dts=55)
    timeline, times = on_one_clock(packets)
    assert (timeline.parts, timeline.wild) == (1, 1)
    _, truth = on_one_clock(interleaved(pictures(2_000_000, 2), sound(2_000_000, 2)))
    for index, of_stream in times.items():
        assert of_stream == pytest.approx(truth[index], abs=0.001)
    assert timeline.duration_s == pytest.approx(2.0, abs=0.021)


def test_a_short_first_part_is_not_a_wild_stamp() -> None:
    """One packet of sound, whose pictures bear it out."""
    timeline, times = on_one_clock([*sound(0, 0.02), *pictures(0, 1), *both(8000, 2)])
    assert (timeline.parts, timeline.wild) == (2, 0)
    assert np.diff(times[PICTURE]) == pytest.approx(0.04)


def test_a_wild_last_stamp_does_not_make_the_clip_longer() -> None:
    packets = [*sound(0, 2), _stored(SOUND, 5000.0, 0.02)]
    timeline, times = on_one_clock(packets)
    assert timeline.wild == 1
    assert times[SOUND][-1] == pytest.approx(2.0)


def test_pictures_without_a_stamp_lie_between_their_neighbours() -> None:
    packets = pictures(1.0, 2)
    for number in (0, 10, 11, 30, 49):
        packets[number] = replace(packets[number], pts=None, dts=None)
    assert breaks(packets)
    timeline, times = on_one_clock(packets)
    assert times[PICTURE] == pytest.approx(1.0 + np.arange(50) / 25, abs=0.001)
    assert "5 pictures" in timeline.notes()[0]


def test_what_a_cut_stream_would_show_late_is_shown_before_the_next_part() -> None:
    first = [replace(packet, pts=(packet.dts or 0) + 80) for packet in pictures(0, 2)]
    first[-1] = replace(first[-1], pts=2240)  # predicted pictures before it were cut off
    second = [replace(packet, pts=(packet.dts or 0) + 80) for packet in pictures(0, 2)]
    timeline, times = on_one_clock([*first, *second])
    assert timeline.duration_s == pytest.approx(4.0)
    assert np.all(np.diff(times[PICTURE]) > 0)


def test_nothing_to_read() -> None:
    assert timeline_of([]).is_plain
    assert timeline_of([_stored(PICTURE, None, 0.04)]).is_plain
