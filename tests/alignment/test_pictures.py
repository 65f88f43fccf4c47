"""Numbered pictures: each at its frame's own time, and none where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from components.alignment.align import Aligner
from components.alignment.pictures import read_picture
from components.contracts.config import Alignment, MediaLimits
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip
from tests.alignment.media import clicks, grey, jpeg, tone, wav, write_clip
from tests.builders import make_clip

LIGHT = Alignment.model_validate({"voice": {"activity": "energy"}})


def ramp(number: int) -> np.ndarray:
    """A crop whose mean level tells its number modulo 32."""
    picture = grey(30 + 6 * (number % 32), 112, 112)
    picture[:, :56] += 10
    picture[:, 56:] -= 10
    return picture


def crops(folder: Path, numbers: Iterable[int]) -> Path:
    folder.mkdir()
    for number in numbers:
        data = cv2.imencode(".jpg", cv2.cvtColor(ramp(number), cv2.COLOR_RGB2BGR))[1]
        (folder / f"{number:05d}.jpg").write_bytes(data.tobytes())
    return folder


def shown(clip: AlignedClip) -> list[int | None]:
    """The number, modulo 32, of the picture that each step shows."""
    return [None if data is None else round((float(jpeg(data).mean()) - 30) / 6) for data in clip.face_jpeg]


def aligned(root: Path, config: Alignment = LIGHT, **fields: object) -> AlignedClip:
    # The detector of the configuration finds nothing in these pictures; none is asked.
    return Aligner(config, media=False).align(make_clip(pictures_path="crops", **fields), root=root)


@pytest.mark.parametrize("fps", [14.0, 24.0, 60.0])
def test_pictures_stand_at_the_times_of_the_videos_frames_and_not_at_30_a_second(tmp_path: Path, fps: float) -> None:
    count = round(2 * fps)
    write_clip(tmp_path / "a.mp4", pictures=[grey(0)] * count, fps=fps, sound=tone(2.0))
    crops(tmp_path / "crops", range(1, count + 1))
    clip = aligned(tmp_path, video_path="a.mp4")
    centres_s = clip.grid.centres_s[:20]
    assert shown(clip)[:20] == [(int(centre * fps + 1e-6) + 1) % 32 for centre in centres_s]
    assert clip.quality.frame_rate_hz == pytest.approx(fps, rel=0.01)
    assert clip.masks["voice"][:20].all()
    assert clip.face_box[3].tolist() == [0, 0, 112, 112]


def test_a_variable_rate_keeps_every_picture_at_its_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    times_s = np.round(np.cumsum(np.concatenate([[0.0], rng.uniform(0.02, 0.07, 44)])), 3)
    write_clip(tmp_path / "a.mp4", pictures=[grey(0)] * 45, times_s=times_s.tolist())
    crops(tmp_path / "crops", range(1, 46))
    clip = aligned(tmp_path, video_path="a.mp4")
    inside = clip.grid.centres_s < times_s[-1]
    expected = np.searchsorted(times_s, clip.grid.centres_s[inside], side="right") % 32
    assert shown(clip)[: inside.sum()] == expected.tolist()


def test_without_a_video_the_rate_that_is_given_counts_and_the_number_not_the_place(tmp_path: Path) -> None:
    crops(tmp_path / "crops", [*range(1, 11), *range(26, 31)])
    wav(tmp_path / "a.wav", tone(2.0, 16_000))
    clip = aligned(tmp_path, audio_path="a.wav", pictures_rate_hz=15.0)
    assert clip.quality.duration_s == pytest.approx(2.0, abs=0.01)
    assert clip.masks["face"].tolist() == [True] * 7 + [False] * 9 + [True] * 4
    assert shown(clip)[16:] == [26, 27, 28, 30]
    assert "no picture of the face for 0.9 s" in clip.quality.notes


def test_what_is_missing_or_broken_is_masked_and_never_black(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[grey(0)] * 30, fps=10.0)
    folder = crops(tmp_path / "crops", [number for number in range(1, 31) if number not in {4, 5}])
    whole = (folder / "00008.jpg").read_bytes()
    (folder / "00008.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "00009.jpg").write_bytes(b"")
    (folder / "00010.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "00011.jpg").write_text("<html>403</html>")
    Image.new("RGB", (5000, 8)).save(folder / "00012.jpg")
    Image.fromarray(grey(0)).save(folder / "00013.jpg")
    clip = aligned(tmp_path, video_path="a.mp4")
    assert [step + 1 for step, there in enumerate(clip.masks["face"]) if not there] == [4, 5, 8, 9, 10, 11, 12, 13]
    assert all(data is None for data in clip.face_jpeg[7:13])
    assert np.isnan(clip.face_box[7:13]).all()
    assert "5 damaged pictures left out" in clip.quality.notes
    assert "no picture of the face for 0.8 s" in clip.quality.notes


def test_a_step_takes_another_picture_of_its_own_where_the_best_one_is_not_there(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[grey(0)] * 60, fps=30.0)
    folder = crops(tmp_path / "crops", [number for number in range(1, 61) if number not in {5, 7, 8, 9}])
    (folder / "00014.jpg").write_bytes(b"no picture")
    clip = aligned(tmp_path, video_path="a.mp4")
    # Frames 4 to 6 are of step 1, 7 to 9 of step 2, 13 to 15 of step 4.
    assert shown(clip)[:6] == [2, 6, None, 11, 15, 17]


def test_the_clip_begins_with_the_first_picture_although_the_sound_began_before(tmp_path: Path) -> None:
    times_s = [0.3 + k / 25 for k in range(50)]
    sound = clicks(2.3, [0.1, 0.8])
    write_clip(tmp_path / "a.mkv", pictures=[grey(0)] * 50, times_s=times_s, sound=sound, audio_codec="pcm_s16le")
    crops(tmp_path / "crops", range(1, 51))
    clip = aligned(tmp_path, video_path="a.mkv")
    assert shown(clip)[0] == 2
    loud = np.nonzero(np.abs(clip.pcm.astype(np.int32)) > 3000)[0]
    assert loud[0] / clip.audio_rate_hz == pytest.approx(0.5, abs=0.01)


def test_a_hole_in_the_sound_is_masked_and_not_silence(tmp_path: Path) -> None:
    write_clip(
        tmp_path / "a.mkv",
        pictures=[grey(0)] * 50,
        sound=tone(2.0, 16_000),
        sound_rate_hz=16_000,
        sound_gaps=[(0.5, 1.2)],
        audio_codec="pcm_s16le",
    )
    crops(tmp_path / "crops", range(1, 51))
    clip = aligned(tmp_path, video_path="a.mkv")
    assert clip.masks["face"].all()
    assert not clip.masks["voice"][6:11].any()
    assert clip.masks["voice"][:5].all()
    assert clip.masks["voice"][13:].all()


def test_sound_of_a_file_without_picture_and_pictures_by_rate_start_together(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", sound=clicks(2.0, [0.5]), sound_start_s=1.0, audio_codec="pcm_s16le")
    crops(tmp_path / "crops", range(1, 21))
    clip = aligned(tmp_path, video_path="a.mkv", pictures_rate_hz=10.0)
    loud = np.nonzero(np.abs(clip.pcm.astype(np.int32)) > 3000)[0]
    assert loud[0] / clip.audio_rate_hz == pytest.approx(0.5, abs=0.01)
    assert shown(clip)[:20] == list(range(1, 21))


def test_pictures_beyond_the_video_are_left_out_and_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[grey(0)] * 20, fps=10.0)
    crops(tmp_path / "crops", range(1, 24))
    clip = aligned(tmp_path, video_path="a.mp4")
    assert clip.grid.num_steps == 20
    assert "3 pictures are numbered beyond the last frame of the video" in clip.quality.notes


@pytest.mark.parametrize(
    ("number", "rate_hz", "code"),
    [(999_999_999, 30.0, "too-many-frames"), (30, None, "no-rate"), (30, 1e6, "frame-rate"), (30, -1.0, "frame-rate")],
)
def test_pictures_without_a_usable_clock_are_refused(
    tmp_path: Path, number: int, rate_hz: float | None, code: str
) -> None:
    crops(tmp_path / "crops", [1, number])
    with pytest.raises(MediaError) as refused:
        aligned(tmp_path, pictures_rate_hz=rate_hz)
    assert refused.value.code == code
    assert refused.value.where == "tiny/a"


def test_a_picture_larger_than_the_limits_is_not_decoded(tmp_path: Path) -> None:
    path = crops(tmp_path / "crops", [1]) / "00001.jpg"
    assert read_picture(path, MediaLimits(max_side_px=112)) is not None
    assert read_picture(path, MediaLimits(max_side_px=111)) is None
    assert read_picture(path, MediaLimits(max_bytes=path.stat().st_size - 1)) is None
