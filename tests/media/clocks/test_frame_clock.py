"""The clock of a video's frames is the one that alignment goes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.clocks.frame_clock import FrameClock, frame_clock
from components.media.reader import MediaReader
from components.media.scan import scan
from tests.alignment.media import grey, tone, wav, write_clip

TIMES_S = [0.0, 0.05, 0.08, 0.2, 0.24, 0.3, 0.31, 0.5]


@pytest.fixture(scope="module")
def reader() -> MediaReader:
    return MediaReader()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a.mp4", {"times_s": TIMES_S, "sound": tone(0.6)}),  # with pictures that refer to later ones
        ("a.mkv", {"times_s": TIMES_S}),
        ("late.mkv", {"times_s": [0.4 + time_s for time_s in TIMES_S], "sound": tone(1.0)}),
        ("a.avi", {"fps": 15.0, "video_codec": "mpeg4", "sound": tone(0.5), "audio_codec": "mp3"}),
        ("a.flv", {"fps": 14.0, "video_codec": "flv"}),
    ],
)
def test_it_is_the_clock_that_alignment_goes_by(
    reader: MediaReader, tmp_path: Path, name: str, fields: dict[str, Any]
) -> None:
    path = write_clip(tmp_path / name, pictures=[grey(40)] * 8, **fields)
    clock = frame_clock(path, reader)
    seen = scan(path, MediaLimits(), rate_hz=16_000, where="a", picture=True, sound=True).pictures
    assert seen is not None
    assert clock.times_s.tolist() == pytest.approx((seen.times_s - seen.times_s[0]).tolist(), abs=1e-9)
    assert clock.times_s.size == 8


def test_a_clock_at_one_rate() -> None:
    clock = FrameClock.regular(4, 20.0)
    assert clock.times_s.tolist() == [0.0, 0.05, 0.1, 0.15]
    assert clock.end_s == 0.2


def test_what_has_no_frames_is_refused_without_the_place_it_lies_in(reader: MediaReader, tmp_path: Path) -> None:
    cases = {
        "sound.wav": "no-streams",
        "text.mp4": "not-media",
        "cut.avi": "not-media",
        "gone.mp4": "missing-file",
        "empty.mp4": "empty-file",
    }
    wav(tmp_path / "sound.wav", np.asarray(tone(0.2, 16_000)))
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.avi").write_bytes(b"RIFF\x00\x00\x00\x00AVI ")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name, code in cases.items():
        with pytest.raises(MediaError) as refused:
            frame_clock(tmp_path / name, reader)
        assert refused.value.code == code, name
        assert str(tmp_path) not in str(refused.value)
