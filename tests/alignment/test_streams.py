from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.alignment.physio import Series
from components.alignment.streams import JITTER_NOTE, Media, read_media
from components.contracts.config import Alignment, MediaLimits
from components.contracts.errors import MediaError
from components.contracts.records import Word
from components.media.span import Span
from tests.alignment.media import grey, tone, wav, write_clip
from tests.builders import make_clip

PICTURES = [grey(40 + 8 * k) for k in range(25)]  # a second


def streams(
    root: Path,
    *,
    series: Series | None = None,
    config: Alignment | None = None,
    span: Span | None = None,
    **fields: Any,
) -> Media:
    return read_media(make_clip(**fields), config or Alignment(), series or {}, root=root, span=span)


def refusal(root: Path, **fields: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        streams(root, **fields)
    assert caught.value.where == "tiny/a"
    return caught.value


def test_the_streams_of_one_file_share_its_clock(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=PICTURES, sound=tone(1.5), sound_start_s=0.4)
    media = streams(tmp_path, video_path="a.mp4")
    assert media.picture_origin_s == media.sound_origin_s == 0.0
    assert media.offset_s == pytest.approx(0.4, abs=0.05)
    assert media.duration_s == pytest.approx(1.9, abs=0.06)
    assert media.spread is not None
    assert media.spread.cv == pytest.approx(0.0, abs=1e-3)


def test_what_was_decided_about_a_clock_is_told(tmp_path: Path) -> None:
    part = write_clip(tmp_path / "part.ts", pictures=PICTURES, sound=tone(1.0))
    (tmp_path / "joined.ts").write_bytes(2 * part.read_bytes())
    joined = streams(tmp_path, video_path="joined.ts")
    assert joined.notes == ("the file's clock starts again; its 2 parts are placed one after the other",)
    assert joined.duration_s == pytest.approx(2.0, abs=0.05)
    apart = streams(tmp_path, video_path="joined.ts", audio_path="joined.ts")
    assert apart.notes == joined.notes
    write_clip(tmp_path / "b_frames.avi", pictures=PICTURES)
    assert "shown in the codec's order" in streams(tmp_path, video_path="b_frames.avi").notes[-1]
    noise = (0.1 * np.random.default_rng(0).standard_normal(96_000)).astype(np.float32)
    jitter = {"sound_jitter_s": 0.02, "sound_frame": 2880, "audio_codec": "pcm_s16le"}
    write_clip(tmp_path / "jitter.mkv", sound=noise, **jitter)
    assert streams(tmp_path, audio_path="jitter.mkv").notes[-1] == JITTER_NOTE


def test_two_files_are_taken_to_start_together(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=PICTURES, times_s=[0.5 + k / 25 for k in range(25)])
    wav(tmp_path / "a.wav", tone(2.0, 16_000))
    media = streams(tmp_path, video_path="a.mp4", audio_path="a.wav")
    assert media.pictures is not None
    assert (media.offset_s, media.sound_origin_s) == (0.0, 0.0)
    assert media.picture_origin_s == float(media.pictures.times_s[0])
    assert media.duration_s == pytest.approx(2.0, abs=0.05)
    assert media.notes == ("the sound file is 1.00 s longer than the picture",)


@pytest.mark.parametrize(("name", "note"), [("silent.mp4", "no sound"), ("heard.wav", "sound only")])
def test_a_stream_that_is_missing_is_said(name: str, note: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.mp4", pictures=PICTURES)
    wav(tmp_path / "heard.wav", tone(1.0, 16_000))
    path = {"video_path" if name.endswith("mp4") else "audio_path": name}
    media = streams(tmp_path, **path)
    assert (media.pictures is None, media.sound is None) == (name.endswith("wav"), name.endswith("mp4"))
    assert media.notes == (note,)
    assert media.offset_s == 0.0


def test_a_span_begins_and_lasts_as_it_says_and_what_is_missing_is_said(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(3.0, 16_000))
    inside = streams(tmp_path, audio_path="a.wav", span=Span(start_s=1.0, end_s=2.5))
    assert (inside.duration_s, inside.sound_origin_s) == (pytest.approx(1.5), pytest.approx(1.0))
    assert inside.notes == ("sound only",)
    over = streams(tmp_path, audio_path="a.wav", span=Span(start_s=2.0, end_s=5.0))
    assert over.duration_s == pytest.approx(3.0)
    assert "the recording ends 2.00 s before the clip does" in over.notes
    assert refusal(tmp_path, audio_path="a.wav", span=Span(start_s=9.0, end_s=10.0)).code == "bad-span"


def test_without_files_a_clip_lasts_as_long_as_its_signals_or_words(tmp_path: Path) -> None:
    times_s = np.arange(0.0, 2.0, 0.25)
    assert streams(tmp_path, series={"ecg": (times_s, np.sin(times_s))}).duration_s == 1.75
    word = Word(text="hi", start_s=0.2, end_s=2.4)
    assert streams(tmp_path, words=(word,)).duration_s == 2.4


def test_what_gives_no_clip_is_refused_with_its_code(tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.mp4", pictures=PICTURES)
    wav(tmp_path / "short.wav", tone(0.02, 16_000))
    wav(tmp_path / "long.wav", tone(2.0, 16_000))
    brief = Alignment(limits=MediaLimits(max_duration_s=1.0))
    assert refusal(tmp_path).code == "no-media"
    assert refusal(tmp_path, audio_path="silent.mp4").code == "no-audio"
    assert refusal(tmp_path, audio_path="short.wav").code == "truncated"
    assert refusal(tmp_path, audio_path="long.wav", config=brief).code == "too-long"
