"""A clip cut out of a longer recording: a flash and a click at known moments show where it really begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.alignment.align import Aligner
from components.contracts.config import Alignment, FaceAlignment, MediaLimits, VoiceAlignment
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip, Word
from components.media.frames import DecodeReport, frames
from components.media.scan import scan
from components.media.span import Span
from tests.alignment.media import clicks, damage, grey, jpeg, tone, wav, write_clip
from tests.builders import make_clip

LENGTH_S = 24.0
EVENTS_S = (5.0, 15.04)  # a white picture and a click together
RATE_HZ = 25.0  # a step a picture
CONTAINERS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "a.mov": {"video_codec": "mpeg4", "audio_codec": "pcm_s16le"},
    "a.mkv": {"audio_codec": "pcm_s16le"},  # its sound lies behind all of its pictures
    "a.avi": {"video_codec": "mpeg4", "audio_codec": "pcm_s16le"},
    "mp3.avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "a.ts": {},
}
UNTOLD_DELAY = {"mp3.avi", "a.ts"}  # the encoder's, which nothing in the file tells


def aligner_at(rate_hz: float, **limits: Any) -> Aligner:
    return Aligner(
        Alignment(
            rate_hz=rate_hz,
            face=FaceAlignment(detector="whole_frame"),
            voice=VoiceAlignment(activity="energy"),
            limits=MediaLimits(**limits),
        )
    )


def picture(level: int) -> np.ndarray:
    shown = grey(level)
    shown[:, ::2] -= 10  # not flat, so that it counts as a picture of something
    return shown


def pictures(seconds: float = LENGTH_S, fps: float = 25.0) -> list[np.ndarray]:
    times = np.arange(round(seconds * fps)) / fps
    return [picture(220 if np.abs(np.array(EVENTS_S) - time).min() < 0.5 / fps else 60) for time in times]


def flashes_s(clip: AlignedClip) -> np.ndarray:
    levels = np.array([0.0 if data is None else jpeg(data).mean() for data in clip.face_jpeg])
    return np.nonzero(levels > 140)[0] / clip.grid.rate_hz


def clicks_s(clip: AlignedClip) -> np.ndarray:
    loud = np.nonzero(np.abs(clip.pcm.astype(np.int32)) > 3000)[0]
    return loud[np.concatenate([[True], np.diff(loud) > 800])] / clip.audio_rate_hz if loud.size else np.zeros(0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recording in every container; a key frame every two seconds."""
    folder = tmp_path_factory.mktemp("recordings")
    sound = clicks(LENGTH_S, EVENTS_S) + 0.02 * tone(LENGTH_S, hz=120)
    for name, how in CONTAINERS.items():
        write_clip(folder / name, pictures=pictures(), sound=sound, gop=50, **how)
    return folder


@pytest.fixture(scope="module")
def cut(recordings: Path) -> Callable[..., AlignedClip]:
    aligner = aligner_at(RATE_HZ)

    def run(video: str | None, start_s: float = 0.0, end_s: float | None = None, **fields: Any) -> AlignedClip:
        clip = make_clip(video_path=video, start_s=start_s, end_s=end_s, **fields)
        return aligner.align(clip, root=recordings)

    return run


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_span_lands_where_it_says_in_picture_and_sound(cut: Callable[..., AlignedClip], name: str) -> None:
    whole = cut(name)
    for start_s, end_s in ((13.31, 17.5), (15.03, 17.0), (4.99, 5.5), (0.0, 6.0)):
        clip = cut(name, start_s, end_s)
        event_s = next(event for event in EVENTS_S if start_s <= event < end_s)
        truth_s = next(at for at in clicks_s(whole) if abs(at - event_s) < 0.06)
        assert clip.quality.duration_s == end_s - start_s
        assert clicks_s(clip) == pytest.approx([truth_s - start_s], abs=0.002)
        if name not in UNTOLD_DELAY:
            assert clicks_s(clip) == pytest.approx([event_s - start_s], abs=0.01)
        flash_s = flashes_s(clip)
        assert flash_s.size == 1
        shown_s = next(at for at in flashes_s(whole) if abs(at - event_s) < 0.06)
        assert flash_s[0] == pytest.approx(shown_s - start_s, abs=1.01 / RATE_HZ)
        assert clip.quality.notes == () or start_s == 0.0


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "mp3.avi"])
def test_a_span_to_the_end_has_everything_from_its_start_on(cut: Callable[..., AlignedClip], name: str) -> None:
    clip = cut(name, 14.0)
    assert clip.quality.duration_s == pytest.approx(cut(name).quality.duration_s - 14.0, abs=0.001)
    assert clip.masks["face"][:-2].all()
    assert clicks_s(clip) == pytest.approx([1.04], abs=0.03)


def test_the_picture_that_is_still_shown_when_the_span_begins_is_its_first(tmp_path: Path) -> None:
    levels = [60, 220, 60, 220, 60, 220]
    write_clip(tmp_path / "slow.mp4", pictures=[picture(level) for level in levels], fps=1.0, sound=tone(6.0))
    clip = aligner_at(10.0).align(make_clip(video_path="slow.mp4", start_s=1.5, end_s=3.5), root=tmp_path)
    assert flashes_s(clip) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 1.5, 1.6, 1.7, 1.8, 1.9])


def test_what_lies_before_the_span_is_not_decoded(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes((recordings / "a.mp4").read_bytes())
    for kind in ("video", "audio"):
        damage(path, from_s=2.0, to_s=9.9, kind=kind)
    clip = aligner_at(RATE_HZ).align(make_clip(video_path="a.mp4", start_s=13.31, end_s=17.5), root=tmp_path)
    assert clip.quality.notes == ()
    assert clip.masks["face"].all()
    assert clip.masks["voice"].all()
    span = Span(start_s=13.31, end_s=14.31)
    found = scan(path, MediaLimits(), rate_hz=16_000, where="tiny/a", picture=True, sound=True, span=span)
    assert found.pictures is not None
    report = DecodeReport()
    seen = list(frames(path, found.pictures.times_s, MediaLimits(), report, where="tiny/a", window=found.window))
    assert len(seen) == 26  # the one shown at the start, and those of a second
    assert report.decoded < 2 * 50 + 26


def test_the_limit_of_time_is_for_the_span_and_that_of_bytes_for_the_file(recordings: Path) -> None:
    short = aligner_at(RATE_HZ, max_duration_s=3.0)
    assert short.align(make_clip(video_path="a.mp4", start_s=13.0, end_s=16.0), root=recordings).grid.num_steps == 75
    for span in ({"start_s": 13.0, "end_s": 16.5}, {"start_s": 13.0}, {}):
        with pytest.raises(MediaError, match="too long"):
            short.align(make_clip(video_path="a.mp4", **span), root=recordings)
    small = aligner_at(RATE_HZ, max_bytes=1000)
    with pytest.raises(MediaError, match="too large"):
        small.align(make_clip(video_path="a.mp4", start_s=13.0, end_s=16.0), root=recordings)


def test_a_recording_that_ends_within_the_span_is_masked_from_there_on(cut: Callable[..., AlignedClip]) -> None:
    clip = cut("a.mp4", 22.0, 27.0)
    assert clip.grid.num_steps == 125
    assert clip.masks["face"][:49].all()
    assert clip.masks["voice"][:49].all()
    assert not clip.masks["face"][51:].any()
    assert not clip.masks["voice"][52:].any()
    assert any(re.fullmatch(r"the recording ends (2\.9\d|3\.00) s before the clip does", n) for n in clip.quality.notes)


@pytest.mark.parametrize("span", [(24.5, 30.0), (60.0, 61.0), (60.0, None)])
def test_a_span_beyond_the_recording_is_refused(cut: Callable[..., AlignedClip], span: tuple[float, float]) -> None:
    for name in ("a.mp4", "mp3.avi"):
        with pytest.raises(MediaError, match=r"span.*24\.\d+ s long") as caught:
            cut(name, *span)
        assert caught.value.code == "bad-span"


@pytest.mark.parametrize("span", [(3.0, 3.0), (3.0, 2.0), (-1.0, 2.0), (3.0, 3.05), (float("nan"), 4.0)])
def test_a_span_that_is_none_is_refused(cut: Callable[..., AlignedClip], span: tuple[float, float]) -> None:
    with pytest.raises(MediaError) as caught:
        cut("a.mp4", *span)
    assert caught.value.code == "bad-span"


def test_a_sound_file_of_its_own_is_cut_alike(cut: Callable[..., AlignedClip], recordings: Path) -> None:
    wav(recordings / "a.wav", clicks(LENGTH_S, [15.5], 16_000))
    clip = cut("a.mp4", 14.0, 18.0, audio_path="a.wav")
    assert clicks_s(clip) == pytest.approx([1.5], abs=0.001)
    assert flashes_s(clip) == pytest.approx([1.04], abs=1.01 / RATE_HZ)
    assert clip.quality.offset_s == 0.0


@pytest.mark.parametrize("late_s", [0.8, 14.5])
def test_late_sound_is_late_in_the_span_it_begins_in_and_in_no_other(tmp_path: Path, late_s: float) -> None:
    sound = clicks(20.0 - late_s, [17.0 - late_s]) + 0.1 * tone(20.0 - late_s)
    write_clip(tmp_path / "a.mp4", pictures=pictures(20.0), sound=sound, sound_start_s=late_s, gop=50)
    clip = aligner_at(10.0).align(make_clip(video_path="a.mp4", start_s=14.0, end_s=18.0), root=tmp_path)
    begins_s = max(0.0, late_s - 14.0)
    assert clip.quality.offset_s == pytest.approx(begins_s, abs=0.01)
    assert clicks_s(clip) == pytest.approx([3.0], abs=0.01)
    assert not clip.masks["voice"][: max(0, int(begins_s * 10) - 1)].any()
    assert clip.masks["voice"][int(begins_s * 10) + 1 :].all()


def test_signals_are_cut_with_the_rest(recordings: Path, cut: Callable[..., AlignedClip]) -> None:
    time_s = np.arange(0, LENGTH_S, 1 / 128)
    table = pa.table({"time_s": time_s, "eda": time_s, "temp": np.where(np.arange(time_s.size) % 32, np.nan, time_s)})
    pq.write_table(table, recordings / "p.parquet", row_group_size=256)
    clip = cut("a.mp4", 13.31, 17.31, physio_path="p.parquet")
    at_s = 13.31 + np.arange(clip.physio["eda"].size) / clip.physio_rate_hz
    for channel in ("eda", "temp"):
        assert clip.physio[channel] == pytest.approx(at_s, abs=0.005)
    assert clip.masks["physio"].all()
    alone = cut(None, 13.31, 17.31, physio_path="p.parquet")
    assert alone.quality.duration_s == pytest.approx(4.0)
    assert alone.physio["eda"] == pytest.approx(clip.physio["eda"], abs=1e-5)
    assert not cut("a.mp4", 13.0, 15.0, physio_path="p.parquet", words=()).masks["text"].any()


def test_a_file_of_signals_may_be_longer_than_a_clip(tmp_path: Path) -> None:
    time_s = np.arange(0, 100, 1 / 16)
    pq.write_table(pa.table({"time_s": time_s, "eda": time_s}), tmp_path / "p.parquet")
    aligner = aligner_at(10.0, max_duration_s=10.0)
    clip = aligner.align(make_clip(physio_path="p.parquet", start_s=80.0, end_s=90.0), root=tmp_path)
    assert clip.masks["physio"].all()
    with pytest.raises(MediaError, match="too long"):
        aligner.align(make_clip(physio_path="p.parquet", start_s=80.0), root=tmp_path)


def test_words_count_from_the_clips_start(cut: Callable[..., AlignedClip]) -> None:
    clip = cut("a.mp4", 13.0, 15.0, words=(Word(text="hi", start_s=0.4, end_s=0.8),))
    assert np.nonzero(clip.masks["text"])[0].tolist() == list(range(10, 20))
