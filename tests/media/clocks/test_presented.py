"""Pictures of files that tell only when they are decoded."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from components.contracts.config import MediaLimits
from components.media.clocks.presented import contradicts
from components.media.clocks.timeline import PLAIN
from components.media.scan import scan
from components.media.span import Span
from tests.alignment.media import damage, grey, tone, write_clip
from tests.alignment.passes import LIMITS, all_pictures, first_pass, levels


def avi(path: Path, *, gop: int = 250, sound: bool = True) -> Path:
    """H.264 with B-frames in AVI, which stores the times of decoding alone."""
    heard = tone(2.0) if sound else None
    pictures = [grey(level) for level in levels()]
    return write_clip(path, pictures=pictures, sound=heard, audio_codec="libmp3lame", gop=gop)


@pytest.mark.parametrize("gop", [5, 12, 250])
def test_every_picture_is_shown_in_the_codecs_order(tmp_path: Path, gop: int) -> None:
    path = avi(tmp_path / "a.avi", gop=gop)
    scanned = first_pass(path).pictures
    assert scanned is not None
    assert scanned.decode_ordered
    assert scanned.times_s == pytest.approx(np.arange(50) / 25, abs=1e-6)
    assert scanned.end_s == pytest.approx(2.0)
    got, report = all_pictures(path, scanned)
    assert [round(float(got[k].mean())) for k in range(50)] == pytest.approx(levels(), abs=3)
    assert (report.damaged_packets, report.dropped_frames) == (0, 0)


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_file_stored_without_presentation_times(tmp_path: Path, suffix: str) -> None:
    ordinary = write_clip(tmp_path / "a.mkv", pictures=[grey(level) for level in levels()])
    path = tmp_path / f"a.{suffix}"
    with av.open(str(ordinary)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.pts = packet.dts = 40 * number  # milliseconds
            packet.stream = stream
            target.mux(packet)
    scanned = first_pass(path).pictures
    assert scanned is not None
    assert scanned.decode_ordered
    assert scanned.times_s - scanned.times_s[0] == pytest.approx(np.arange(50) / 25, abs=1e-3)
    got, _ = all_pictures(path, scanned)
    assert [round(float(got[k].mean())) for k in range(50)] == pytest.approx(levels(), abs=3)


def test_a_damaged_packet_costs_its_own_pictures(tmp_path: Path) -> None:
    path = damage(avi(tmp_path / "a.avi", gop=10), from_s=0.85, to_s=0.95)
    scanned = first_pass(path).pictures
    assert scanned is not None
    got, _ = all_pictures(path, scanned)
    late = [k for k in got if k >= 35]
    assert len(late) >= 10
    assert [round(float(got[k].mean())) for k in late] == pytest.approx([levels()[k] for k in late], abs=10)


def test_a_span_shows_its_own_pictures(tmp_path: Path) -> None:
    path = avi(tmp_path / "a.avi", gop=10, sound=False)
    span = Span(start_s=1.0, end_s=1.6)
    scanned = scan(path, LIMITS, rate_hz=16_000, where="a", picture=True, sound=False, span=span).pictures
    assert scanned is not None
    assert scanned.decode_ordered
    assert scanned.times_s[0] == pytest.approx(1.0, abs=0.0411)
    got, _ = all_pictures(path, scanned)
    expected = [levels()[round(25 * at_s)] for at_s in scanned.times_s]
    assert [round(float(got[k].mean())) for k in range(len(expected))] == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.ts", {}),
        ("a.avi", {"video_codec": "mpeg4"}),
        ("a.webm", {"video_codec": "libvpx"}),
        ("a.mpg", {"video_codec": "mpeg2video"}),
    ],
)
def test_other_files_are_believed(tmp_path: Path, name: str, fields: dict[str, str]) -> None:
    path = write_clip(tmp_path / name, pictures=[grey(level) for level in levels()], **fields)
    scanned = first_pass(path).pictures
    assert scanned is not None
    assert not scanned.decode_ordered
    assert not contradicts(path, MediaLimits(), PLAIN, where="a")
