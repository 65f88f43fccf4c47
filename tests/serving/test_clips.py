from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.alignment.guard import Guard
from components.contracts.config import MediaLimits
from components.contracts.errors import DataError, MediaError
from components.contracts.records import Word
from components.serving.clips import check_parquet, clip_of_file
from tests.serving import media
from tests.serving.bundles import ALIGNMENT


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard(ALIGNMENT, Path()) as started:
        yield started


def refused(guard: Guard, path: Path, content: bytes) -> MediaError:
    path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        clip_of_file(path, guard)
    return caught.value


def test_a_video_is_used_with_its_own_sound(guard: Guard, clip_path: Path) -> None:
    clip = clip_of_file(clip_path, guard, transcript="hello")
    assert (clip.video_path, clip.audio_path, clip.transcript) == (str(clip_path), None, "hello")


def test_a_sound_file_is_a_sound_file_whatever_its_name(guard: Guard, tmp_path: Path) -> None:
    path = media.sound(tmp_path / "a.wav").rename(tmp_path / "a.mp4")
    clip = clip_of_file(path, guard)
    assert (clip.video_path, clip.audio_path) == (None, str(path))


def test_the_content_hash_covers_the_spoken_words(guard: Guard, clip_path: Path) -> None:
    plain = clip_of_file(clip_path, guard)
    spoken = clip_of_file(clip_path, guard, transcript="hello")
    timed = clip_of_file(clip_path, guard, words=(Word(text="hello", start_s=0, end_s=1),))
    tracked = [clip_of_file(clip_path, guard, audio_track=1), clip_of_file(clip_path, guard, video_track=1)]
    assert [(clip.video_track, clip.audio_track) for clip in tracked] == [(None, 1), (1, None)]
    assert len({clip.content_sha256 for clip in (plain, spoken, timed, *tracked)}) == 5
    assert plain == clip_of_file(clip_path, guard)
    assert timed.transcript == "hello"


def test_a_transcript_of_any_format_brings_its_times(guard: Guard, clip_path: Path) -> None:
    clip = clip_of_file(clip_path, guard, transcript="1\n00:00:00,500 --> 00:00:01,000\nhello there\n")
    assert clip.words == (Word(text="hello there", start_s=0.5, end_s=1.0),)
    assert clip.transcript == "hello there"
    with pytest.raises(DataError, match="RTF"):
        clip_of_file(clip_path, guard, transcript="{\\rtf1 hello}")


def test_files_that_are_not_clips(guard: Guard, tmp_path: Path, clip_path: Path) -> None:
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    assert refused(guard, tmp_path / "empty.mp4", b"").code == "empty-file"
    assert refused(guard, tmp_path / "pointer.mp4", lfs).code == "lfs-pointer"
    assert (
        refused(guard, tmp_path / "text.mp4", "Grüße, dies ist ein Text.\n".encode() * 40).code == "unsupported-media"
    )
    assert refused(guard, tmp_path / "noise.mp4", bytes(range(256)) * 9).code == "not-media"
    truncated = refused(guard, tmp_path / "half.mp4", clip_path.read_bytes()[:400])
    assert truncated.code == "truncated"
    assert truncated.where == "half.mp4"
    with pytest.raises(MediaError) as caught:
        clip_of_file(tmp_path / "none.mp4", guard)
    assert caught.value.code == "missing-file"


def test_limits_hold_before_decoding(clip_path: Path) -> None:
    small = Guard(ALIGNMENT.model_copy(update={"limits": MediaLimits(max_bytes=100)}), Path())
    with pytest.raises(MediaError) as caught:
        clip_of_file(clip_path, small)
    assert caught.value.code == "too-large"
    assert small.pid is None


def test_a_physiological_recording_must_be_parquet(tmp_path: Path) -> None:
    path = tmp_path / "physio.parquet"
    path.write_text("time_s,ecg\n0,1\n")
    with pytest.raises(MediaError) as caught:
        check_parquet(path)
    assert caught.value.code == "unsupported-media"
    assert "time_s,ecg" in str(caught.value.seen)
    with pytest.raises(MediaError) as caught:
        check_parquet(tmp_path / "none.parquet")
    assert caught.value.code == "missing-file"
