from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.scan import scan
from tests.alignment.media import damage, grey, tone, write_clip
from tests.alignment.passes import LIMITS, first_pass
from tests.integration.bad_media_times import VIDEO_TAG, stamped


def test_damaged_sound_packets_are_counted_and_leave_a_hole(tmp_path: Path) -> None:
    path = damage(write_clip(tmp_path / "a.mp4", sound=tone(4.0)), from_s=1.0, to_s=2.0, kind="audio")
    sound = first_pass(path).sound
    assert sound is not None
    assert sound.damaged_packets > 10
    assert len(sound.runs) > 1
    assert sound.end_s == pytest.approx(4.0, abs=0.03)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (MediaLimits(max_side_px=32), "picture-size"),
        (MediaLimits(max_frame_rate_hz=20), "frame-rate"),
        (MediaLimits(max_decoded_frames=10), "too-many-frames"),
        (MediaLimits(max_duration_s=1), "too-long"),
    ],
)
def test_limits_of_the_picture(tmp_path: Path, limits: MediaLimits, code: str) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(50)] * 50)
    with pytest.raises(MediaError) as caught:
        first_pass(path, limits)
    assert caught.value.code == code
    assert caught.value.where == "tiny/a"


def test_the_frame_limit_allows_the_rate_it_names(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(50)] * 50, fps=25)
    assert first_pass(path, MediaLimits(max_frame_rate_hz=25)).pictures is not None


def test_a_stream_that_is_not_wanted_is_not_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(50)] * 5, sound=tone(0.2))
    found = scan(path, LIMITS, rate_hz=16_000, where="t", picture=False, sound=True)
    assert found.pictures is None
    assert found.sound is not None


def test_pictures_whose_clock_stands_still_are_refused_for_that(tmp_path: Path) -> None:
    moving = write_clip(tmp_path / "moving.mkv", pictures=[grey(50)] * 40, video_codec="mpeg4")
    path = tmp_path / "a.mkv"
    with av.open(str(moving)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts = packet.dts = min(packet.pts, 400)  # milliseconds
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(MediaError) as caught:
        first_pass(path)
    assert (caught.value.code, caught.value.seen) == ("timestamps", "11 times for 40 pictures")


WEEKS_MS = 2_100_000_000  # of a counter that is never set to 0
FALLING = {
    "by as much as a picture lasts": lambda kind, number, now: 5000 - now,
    "by a millisecond": lambda kind, number, now: 5000 - number,
    "of the pictures alone": lambda kind, number, now: 5000 - now if kind == VIDEO_TAG else now,
    "weeks after the first": lambda kind, number, now: WEEKS_MS - number,
}


@pytest.mark.parametrize("stamp", FALLING.values(), ids=FALLING.keys())
def test_stamps_that_run_backwards_are_refused_for_that(stamp: Callable[[int, int, int], int], tmp_path: Path) -> None:
    (tmp_path / "a.flv").write_bytes(stamped(stamp))
    with pytest.raises(MediaError, match="run backwards") as refused:
        first_pass(tmp_path / "a.flv")
    assert refused.value.code == "timestamps"


@pytest.mark.parametrize("declared", [b"duration", b"notation"])
def test_a_stamp_of_weeks_does_not_make_a_short_file_too_long(declared: bytes, tmp_path: Path) -> None:
    """Without a duration in the header FFmpeg takes it from the last stamp."""
    data = stamped(lambda kind, number, now: WEEKS_MS + now)
    (tmp_path / "a.flv").write_bytes(data.replace(b"duration", declared))
    scanned = first_pass(tmp_path / "a.flv")
    assert scanned.timeline.wild == 1
    assert scanned.pictures is not None
    assert scanned.sound is not None
    assert scanned.pictures.end_s - scanned.pictures.times_s[0] == pytest.approx(1.0, abs=0.06)
    assert scanned.sound.start_s == pytest.approx(scanned.pictures.times_s[0], abs=0.1)
