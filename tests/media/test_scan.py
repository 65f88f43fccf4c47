from __future__ import annotations

from pathlib import Path

import av
import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.scan import scan
from tests.alignment.media import damage, grey, tone, write_clip
from tests.alignment.passes import LIMITS, first_pass


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
