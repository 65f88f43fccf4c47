"""Whole clips: what the fixed-rate pipelines of the field get wrong, each held on a clip that was written for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.alignment.align import Aligner, align
from components.alignment.fingerprint import alignment_fingerprint
from components.contracts.config import Alignment, AlignmentQuality, FaceAlignment, MediaLimits, VoiceAlignment
from components.contracts.errors import MediaError
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip, Word
from tests.alignment.media import clicks, damage, draw_face, grey, jpeg, rotate, tone, wav, write_clip
from tests.builders import make_clip

AlignFile = Callable[..., AlignedClip]
FACE = draw_face()
WHOLE = Alignment(face=FaceAlignment(detector="whole_frame"))


def onsets_s(clip: AlignedClip) -> np.ndarray:
    first = np.nonzero(np.abs(clip.pcm.astype(np.int32)) > 3000)[0]
    return first[np.concatenate([[True], np.diff(first) > 800])] / clip.audio_rate_hz


def ramp(k: int) -> np.ndarray:
    """A picture whose mean level tells its number modulo 32; not flat, so that it counts as a picture of something."""
    picture = grey(30 + 6 * (k % 32))
    picture[:, :32] += 10
    picture[:, 32:] -= 10
    return picture


def shown(clip: AlignedClip, step: int) -> int | None:
    """The number, modulo 32, of the `ramp` picture that a step shows."""
    data = clip.face_jpeg[step]
    return None if data is None else round((float(jpeg(data).mean()) - 30) / 6)


def refusal(aligner: Aligner, root: Path, **fields: object) -> MediaError:
    with pytest.raises(MediaError) as caught:
        aligner.align(make_clip(**fields), root=root)
    assert caught.value.where == "tiny/a"
    return caught.value


def test_a_face_with_sound_words_and_signals(align_file: AlignFile, tmp_path: Path) -> None:
    write_clip(
        tmp_path / "a.mp4", pictures=[FACE] * 75, sound=tone(3.0, 44_100), sound_rate_hz=44_100, sound_channels=2
    )
    time_s = np.arange(192) / 64
    pq.write_table(pa.table({"time_s": time_s, "ecg": np.sin(time_s)}), tmp_path / "p.parquet")
    word = Word(text="hi", start_s=0.5, end_s=0.9)
    clip = align_file("a.mp4", physio_path="p.parquet", words=(word,))
    quality = clip.quality
    assert clip.grid.num_steps in (30, 31)  # AAC ends with a whole frame
    assert clip.masks["face"][:30].all()
    assert clip.masks["voice"][:30].all()
    assert clip.masks["physio"][:30].all()
    assert np.nonzero(clip.masks["text"])[0].tolist() == [5, 6, 7, 8]
    assert clip.words == (word,)
    assert clip.words_source == "given"
    assert quality.duration_s == pytest.approx(3.0, abs=0.03)
    assert quality.offset_s == pytest.approx(0.0, abs=1e-3)
    assert quality.drift_s_per_min == 0.0
    assert quality.frame_rate_hz == pytest.approx(25.0)
    assert quality.coverage["face"] == pytest.approx(clip.masks["face"].mean())
    assert quality.notes == ()
    assert jpeg(clip.face_jpeg[3]).shape == (96, 96, 3)
    x0, y0, x1, y1 = clip.face_box[3]
    assert (x0 + x1) / 2 == pytest.approx(128, abs=15)
    assert (y0 + y1) / 2 == pytest.approx(128, abs=20)
    assert np.isnan(clip.face_box[~clip.masks["face"]]).all()


def test_a_variable_frame_rate_is_placed_by_timestamps(tmp_path: Path) -> None:
    times = np.concatenate([np.arange(0, 2, 1 / 15), np.arange(2, 3, 1 / 60), np.arange(3, 5, 1 / 20)])
    write_clip(tmp_path / "a.mp4", pictures=[ramp(k) for k in range(times.size)], times_s=times.tolist())
    clip = align(make_clip(video_path="a.mp4"), WHOLE, root=tmp_path)
    for step in range(clip.grid.num_steps - 1):  # the last step is a part of one
        assert (
            shown(clip, step) == (int(np.searchsorted(times, clip.grid.centres_s[step] + 1e-9, side="right")) - 1) % 32
        )
    assert clip.quality.frame_interval_cv is not None
    assert clip.quality.frame_interval_cv > 0.3
    assert "the frame rate varies" in clip.quality.notes


@pytest.mark.parametrize(("late_s", "rate_hz"), [(0.3, 16_000), (1.2, 44_100)])
def test_late_sound_stays_late(align_file: AlignFile, tmp_path: Path, late_s: float, rate_hz: int) -> None:
    # An AAC encoder puts a frame of its own (64 ms at 16 kHz) before the first sample; that is no sound.
    sound = clicks(2.0, [0.5], rate_hz) + 0.05 * tone(2.0, rate_hz)
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 75, sound=sound, sound_rate_hz=rate_hz, sound_start_s=late_s)
    clip = align_file("a.mp4")
    assert clip.quality.offset_s == pytest.approx(late_s, abs=0.01)
    assert onsets_s(clip) == pytest.approx([late_s + 0.5], abs=0.01)
    late_steps = int(late_s * 10) - 1
    assert not clip.masks["voice"][:late_steps].any()
    assert clip.masks["voice"][late_steps + 2 :][:15].all()
    assert not clip.pcm[: int((late_s - 0.07) * 16_000)].any()
    assert clip.masks["face"].mean() > 0.9
    assert any("sound starts" in note for note in clip.quality.notes)


def test_a_late_picture_stays_late(align_file: AlignFile, tmp_path: Path) -> None:
    times = [0.8 + k / 25 for k in range(50)]
    write_clip(tmp_path / "a.mkv", pictures=[FACE] * 50, times_s=times, sound=tone(3.0), audio_codec="pcm_s16le")
    clip = align_file("a.mkv")
    assert clip.quality.offset_s == pytest.approx(-0.8, abs=0.01)
    assert not clip.masks["face"][:7].any()
    assert clip.masks["face"][8:28].all()
    assert clip.masks["voice"][:28].all()


def test_dropped_frames_are_masked_not_filled(align_file: AlignFile, tmp_path: Path) -> None:
    times = [k / 25 for k in range(100) if not 1.5 <= k / 25 < 2.5]
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * len(times), times_s=times)
    clip = align_file("a.mp4")
    assert clip.masks["face"][:15].all()
    assert not clip.masks["face"][17:24].any()
    assert clip.masks["face"][26:].all()
    assert any("pictures are missing" in note for note in clip.quality.notes)


def test_broken_pictures_are_masked_not_black(align_file: AlignFile, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [np.clip(FACE + rng.integers(-12, 13, FACE.shape), 0, 255).astype(np.uint8) for _ in range(100)]
    damage(write_clip(tmp_path / "a.mp4", pictures=pictures, gop=25), from_s=1.0, to_s=1.4)
    clip = align_file("a.mp4")
    mask = clip.masks["face"]
    assert mask[:9].all()
    assert not mask[11:15].any()
    assert mask[20:].all()
    assert all(jpeg(data).mean() > 60 for data in clip.face_jpeg if data is not None)
    assert any("damaged pictures" in note for note in clip.quality.notes)


def test_broken_sound_is_masked_not_zero(align_file: AlignFile, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 100, sound=tone(4.0))
    damage(tmp_path / "a.mp4", from_s=1.0, to_s=2.0, kind="audio")
    clip = align_file("a.mp4")
    voice = clip.masks["voice"]
    assert voice[:9].all()
    assert voice[22:39].all()
    assert voice[11:19].mean() < 1.0
    assert any("damaged sound" in note for note in clip.quality.notes)


def test_a_missing_sound_file_is_an_error_not_silence(aligner: Aligner, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 25)
    assert refusal(aligner, tmp_path, video_path="a.mp4", audio_path="a_left.wav").code == "missing-file"
    assert refusal(aligner, tmp_path, video_path="a.mp4", audio_path="a.mp4").code == "no-audio"


def test_a_sound_file_beside_the_video(align_file: AlignFile, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 50, sound=tone(2.0, hz=100))
    wav(tmp_path / "a.wav", clicks(2.0, [1.0], 16_000))
    clip = align_file("a.mp4", audio_path="a.wav")
    assert onsets_s(clip) == pytest.approx([1.0], abs=0.001)
    assert clip.quality.offset_s == 0.0


@pytest.mark.parametrize("degrees", [90, 270])
def test_a_portrait_clip_of_a_phone_has_its_face_upright(align_file: AlignFile, tmp_path: Path, degrees: int) -> None:
    stored = np.ascontiguousarray(np.rot90(draw_face(192, 256), degrees // 90))
    rotate(write_clip(tmp_path / "a.mp4", pictures=[stored] * 25), degrees)
    clip = align_file("a.mp4")
    assert clip.masks["face"].all()
    assert clip.face_box[:, 2].max() <= 192 + 20


def test_silence_is_masked_and_said(align_file: AlignFile, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 50, sound=np.zeros(96_000, dtype=np.float32))
    clip = align_file("a.mp4")
    assert not clip.masks["voice"].any()
    assert clip.quality.speech_fraction is None
    assert "the sound is silent" in clip.quality.notes


def test_no_face_is_masked_and_said(align_file: AlignFile, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[ramp(k) for k in range(50)], sound=tone(2.0))
    clip = align_file("a.mp4")
    assert not clip.masks["face"].any()
    assert clip.face_jpeg == (None,) * clip.grid.num_steps
    assert "no face found" in clip.quality.notes


def test_video_only(align_file: AlignFile, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 50)
    clip = align_file("a.mp4")
    assert clip.masks["face"].all()
    assert not clip.masks["voice"].any()
    assert clip.pcm.size == 32_000
    assert "no sound" in clip.quality.notes


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a"])
def test_sound_only(align_file: AlignFile, tmp_path: Path, name: str) -> None:
    codec = {"a.wav": "pcm_s16le", "a.flac": "flac", "a.m4a": "aac"}[name]
    write_clip(tmp_path / name, sound=tone(2.0, 16_000), sound_rate_hz=16_000, audio_codec=codec)
    for clip in (align_file(audio_path=name), align_file(name)):
        assert clip.masks["voice"][:20].all()
        assert not clip.masks["face"].any()
        assert clip.quality.frame_rate_hz is None
        assert len(clip.quality.notes) == 1


def test_signals_alone(align_file: AlignFile, tmp_path: Path) -> None:
    time_s = np.arange(640) / 64
    pq.write_table(pa.table({"time_s": time_s, "eda": time_s}), tmp_path / "p.parquet")
    clip = align_file(physio_path="p.parquet")
    assert clip.masks["physio"].all()
    assert clip.quality.duration_s == pytest.approx(10.0, abs=0.02)


def test_a_transcript_without_times_is_spread_over_the_sound(align_file: AlignFile, tmp_path: Path) -> None:
    sound = np.zeros(64_000, dtype=np.float32)
    sound[16_000:48_000] = tone(2.0, 16_000)
    wav(tmp_path / "a.wav", sound)
    clip = align_file(audio_path="a.wav", transcript="what a day")
    assert clip.words_source == "spread"
    assert [word.text for word in clip.words] == ["what", "a", "day"]
    assert clip.words[0].start_s == pytest.approx(1.0, abs=0.1)
    assert clip.words[-1].end_s == pytest.approx(3.0, abs=0.1)
    assert clip.masks["text"][10:30].all()
    assert not clip.masks["text"][:9].any()


def test_a_file_cut_short_says_so(align_file: AlignFile, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [np.clip(FACE + rng.integers(-12, 13, FACE.shape), 0, 255).astype(np.uint8) for _ in range(100)]
    path = write_clip(tmp_path / "a.mp4", pictures=pictures, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = align_file("a.mp4")
    assert 1.0 < clip.quality.duration_s < 3.5
    assert clip.masks["face"].mean() > 0.8
    assert any("ended early" in note for note in clip.quality.notes)


def test_what_cannot_be_used(aligner: Aligner, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video at all\n" * 30)
    (tmp_path / "lfs.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    cut = write_clip(tmp_path / "cut.mp4", pictures=[FACE] * 50)
    cut.write_bytes(cut.read_bytes()[:4000])
    wav(tmp_path / "blink.wav", tone(0.05, 16_000))
    assert refusal(aligner, tmp_path, video_path="empty.mp4").code == "empty-file"
    assert refusal(aligner, tmp_path, video_path="text.mp4").code == "not-media"
    assert refusal(aligner, tmp_path, audio_path="lfs.wav").code == "lfs-pointer"
    assert refusal(aligner, tmp_path, video_path="cut.mp4").code == "truncated"
    assert refusal(aligner, tmp_path, video_path="none.mp4").code == "missing-file"
    assert refusal(aligner, tmp_path, audio_path="blink.wav").code == "truncated"
    assert refusal(aligner, tmp_path).code == "no-media"
    assert refusal(aligner, tmp_path, transcript="words alone").code == "no-media"


def test_the_gate(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[FACE] * 75, sound=tone(2.0), sound_start_s=1.0)
    write_clip(tmp_path / "b.mp4", pictures=[ramp(0)] * 50)
    strict = Aligner(Alignment(quality=AlignmentQuality(max_abs_offset_s=0.5)))
    assert refusal(strict, tmp_path, video_path="a.mp4").code == "offset"
    assert refusal(strict, tmp_path, video_path="b.mp4").code == "coverage"
    assert strict.align_ungated(make_clip(video_path="a.mp4"), root=tmp_path).quality.offset_s == pytest.approx(
        1, abs=0.025
    )


def test_limits_hold_for_all_streams_together(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", pictures=[FACE] * 25, sound=tone(1.0), sound_start_s=4.0, audio_codec="pcm_s16le")
    aligner = Aligner(Alignment(limits=MediaLimits(max_duration_s=3.0)))
    assert refusal(aligner, tmp_path, video_path="a.mkv").code == "too-long"


def test_twice_is_the_same_and_a_row_keeps_everything(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[draw_face(smile=k / 50) for k in range(50)], sound=tone(2.0))
    clip = make_clip(video_path="a.mp4", transcript="so it is")
    first = align(clip, Alignment(), root=tmp_path).to_row()
    second = align(clip, Alignment(), root=tmp_path).to_row()
    tables = [pa.Table.from_pylist([row], schema=ALIGNED_SCHEMA) for row in (first, second)]
    assert tables[0].slice(0, 1).to_pylist()[0]["pcm"] == tables[1].to_pylist()[0]["pcm"]
    rows = [AlignedClip.from_row(table.to_pylist()[0]).to_row() for table in tables]
    for row in rows:
        row["face_box"] = np.nan_to_num(row["face_box"], nan=-1).tolist()
    first["face_box"] = np.nan_to_num(first["face_box"], nan=-1).tolist()
    assert rows[0] == rows[1] == first


def test_the_fingerprint_covers_what_shapes_the_output_and_nothing_else() -> None:
    base = alignment_fingerprint(Alignment())
    assert base == alignment_fingerprint(Alignment(limits=MediaLimits(max_bytes=1)))
    assert base == alignment_fingerprint(Alignment(quality=AlignmentQuality(max_abs_offset_s=0.1)))
    others = [
        Alignment(rate_hz=25.0),
        Alignment(face=FaceAlignment(detect_every_s=0.2)),
        Alignment(face=FaceAlignment(detector="whole_frame")),
        Alignment(voice=VoiceAlignment(activity="energy")),
        Alignment(physio_rate_hz=32.0),
    ]
    assert len({base, *map(alignment_fingerprint, others)}) == len(others) + 1


@pytest.mark.integration
def test_every_real_clip_aligns(aligner: Aligner, shared_data: Path) -> None:
    paths = sorted((shared_data / "clips").glob("*.mp4"))
    assert paths
    for path in paths:
        clip = aligner.align(make_clip(video_path=str(path)), root=Path("/"))
        assert clip.masks["face"].mean() > 0.9, path.name
        assert clip.quality.drift_s_per_min == 0.0
        assert abs(clip.quality.offset_s) < 0.1


@pytest.mark.integration
def test_real_recordings_of_sound_align(aligner: Aligner, shared_data: Path) -> None:
    for path in sorted((shared_data / "ravdess" / "Actor_02").glob("*.flac"))[::20]:
        clip = aligner.align(make_clip(audio_path=str(path)), root=Path("/"))
        assert clip.masks["voice"].mean() > 0.2
        assert clip.quality.speech_fraction is not None
        assert clip.quality.speech_fraction > 0.1
