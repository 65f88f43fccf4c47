from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from components.alignment.decode import DecodeReport, Scan, frames, scan
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from tests.alignment.media import damage, draw_face, grey, rotate, tone, write_clip

LIMITS = MediaLimits()


def first_pass(path: Path, limits: MediaLimits = LIMITS) -> Scan:
    return scan(path, limits, rate_hz=16_000, where="tiny/a", picture=True, sound=True)


def second_pass(path: Path, wanted_s: np.ndarray, limits: MediaLimits = LIMITS) -> tuple[dict, DecodeReport]:
    report = DecodeReport()
    return dict(frames(path, wanted_s, limits, report, where="tiny/a")), report


def levels() -> list[int]:
    return [20 + 4 * k for k in range(50)]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "libx264"), ("mkv", "libx264"), ("mp4", "mpeg4"), ("avi", "mpeg4"), ("mov", "libx264")],
)
def test_every_picture_is_found_by_its_time(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_clip(tmp_path / f"a.{suffix}", pictures=[grey(level) for level in levels()], video_codec=codec)
    pictures = first_pass(path).pictures
    assert pictures is not None
    assert pictures.times_s.size == 50
    assert np.diff(pictures.times_s) == pytest.approx(0.04, abs=0.0011)
    assert pictures.end_s - pictures.times_s[0] == pytest.approx(2.0, abs=0.01)
    wanted = np.arange(2, 50, 5)
    got, report = second_pass(path, pictures.times_s[wanted])
    assert sorted(got) == list(range(wanted.size))
    for index, picture in got.items():
        assert picture.shape == (64, 64, 3)
        assert float(picture.mean()) == pytest.approx(levels()[wanted[index]], abs=2)
    assert report.damaged_packets == report.dropped_frames == 0


def test_timestamps_not_numbers_place_a_variable_frame_rate(tmp_path: Path) -> None:
    times = np.cumsum(np.tile([0.0166, 0.0714, 0.04], 12))
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(5 * k) for k in range(36)], times_s=times.tolist())
    pictures = first_pass(path).pictures
    assert pictures is not None
    assert pictures.times_s - pictures.times_s[0] == pytest.approx(times - times[0], abs=1e-4)
    got, _ = second_pass(path, pictures.times_s[[7, 20]])
    assert [float(got[k].mean()) for k in (0, 1)] == pytest.approx([35, 100], abs=2)


def test_colours_come_out_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[..., 0] = 200
    path = write_clip(tmp_path / "a.mp4", pictures=[red] * 5)
    got, _ = second_pass(path, np.array([0.0]))
    assert got[0].mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=6)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_display_matrix_turns_the_picture(tmp_path: Path, degrees: int) -> None:
    upright = draw_face(96, 128)
    stored = np.ascontiguousarray(np.rot90(upright, degrees // 90))  # turned back, the matrix turns it clockwise again
    path = rotate(write_clip(tmp_path / "a.mp4", pictures=[stored] * 5), degrees)
    got, _ = second_pass(path, np.array([0.0]))
    assert got[0].shape == upright.shape
    assert np.abs(got[0].astype(int) - upright).mean() < 6


@pytest.mark.parametrize(("ratio", "stored"), [(16 / 11, (176, 144)), (0.5, (256, 64)), (8 / 9, (180, 120))])
def test_pixels_that_are_not_square_are_made_square(tmp_path: Path, ratio: float, stored: tuple[int, int]) -> None:
    width, height = stored
    square = (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
    face = draw_face(*square)
    squeezed = np.asarray(cv2.resize(face, stored, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    path = write_clip(tmp_path / "a.mp4", pictures=[squeezed] * 5, pixel_ratio=ratio)
    glances: list[np.ndarray] = []
    found = frames(
        path, np.array([0.0]), LIMITS, DecodeReport(), where="t", glance=lambda _, grey: glances.append(grey)
    )
    ((_, picture),) = found
    assert picture.shape[1::-1] == square
    assert glances[0].shape[1::-1] == square
    assert np.abs(picture.astype(int) - face).mean() < 6


def test_a_turned_picture_with_oblong_pixels_is_both_turned_and_made_square(tmp_path: Path) -> None:
    upright = draw_face(96, 192)  # turned on its side and squeezed to half its width there: 96 x 96
    stored = cv2.resize(np.ascontiguousarray(np.rot90(upright)), (96, 96), interpolation=cv2.INTER_AREA)
    path = rotate(write_clip(tmp_path / "a.mp4", pictures=[stored] * 5, pixel_ratio=2.0), 90)
    got, _ = second_pass(path, np.array([0.0]))
    assert got[0].shape == upright.shape
    assert np.abs(got[0].astype(int) - upright).mean() < 8


def test_a_pixel_ratio_that_makes_no_sense_or_no_difference_is_left_alone(tmp_path: Path) -> None:
    for ratio in (8.0, 1.005):
        path = write_clip(tmp_path / "a.mp4", pictures=[grey(90)] * 5, pixel_ratio=ratio)
        got, _ = second_pass(path, np.array([0.0]))
        assert got[0].shape == (64, 64, 3)
    wide = write_clip(tmp_path / "b.mp4", pictures=[grey(90)] * 5, pixel_ratio=2.0)
    got, _ = second_pass(wide, np.array([0.0]), MediaLimits(max_side_px=100))
    assert got[0].shape == (32, 64, 3), "beyond the limit the other side shrinks"


@pytest.mark.parametrize(
    ("suffix", "codec", "shape"), [("mp4", "libx264", (90, 320)), ("mkv", "libx264rgb", (90, 320))]
)
def test_a_glance_is_the_brightness_of_every_picture_shown_small(
    tmp_path: Path, suffix: str, codec: str, shape: tuple[int, int]
) -> None:
    pictures = [np.repeat(np.repeat(grey(level), 3, axis=0), 10, axis=1)[:180, :640] for level in levels()[:20]]
    path = write_clip(tmp_path / f"a.{suffix}", pictures=pictures, video_codec=codec)
    seen: list[tuple[float, np.ndarray]] = []
    shown = frames(
        path,
        np.array([0.2, 0.4]),
        LIMITS,
        DecodeReport(),
        where="t",
        glance=lambda time_s, small: seen.append((time_s, small)),
    )
    got = dict(shown)
    assert sorted(got) == [0, 1]
    assert [time_s for time_s, _ in seen] == pytest.approx([0.2 + 0.04 * k for k in range(6)], abs=1e-3)
    assert all(small.shape == shape and small.dtype == np.uint8 for _, small in seen)
    assert np.diff([float(small.mean()) for _, small in seen]) == pytest.approx(4.0, abs=1.0)


def test_glances_are_no_more_than_sixty_a_second(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures=[grey(90)] * 120, fps=120)
    times: list[float] = []
    got = frames(path, np.array([0.0, 0.99]), LIMITS, DecodeReport(), where="t", glance=lambda at, _: times.append(at))
    assert len(list(got)) >= 1
    assert 55 <= len(times) <= 61
    assert np.diff(times).min() > 0.016


def test_damaged_packets_cost_the_pictures_up_to_the_next_key_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(75)]
    path = write_clip(tmp_path / "a.mp4", pictures=noise, gop=25)
    before = first_pass(path).pictures
    damage(path, from_s=1.0, to_s=1.3)
    found = first_pass(path)
    assert found.pictures is not None
    assert before is not None
    assert found.pictures.times_s.tolist() == before.times_s.tolist()
    got, report = second_pass(path, found.pictures.times_s)
    assert report.damaged_packets + report.dropped_frames > 0
    assert set(range(25)) <= set(got)
    assert set(range(50, 75)) <= set(got)
    assert not set(range(26, 32)) & set(got)


def test_damaged_sound_packets_are_counted_and_leave_a_hole(tmp_path: Path) -> None:
    path = damage(write_clip(tmp_path / "a.mp4", sound=tone(4.0)), from_s=1.0, to_s=2.0, kind="audio")
    sound = first_pass(path).sound
    assert sound is not None
    assert sound.damaged_packets > 10
    assert len(sound.runs) > 1
    assert sound.end_s == pytest.approx(4.0, abs=0.03)


def test_a_file_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(100)]
    path = write_clip(tmp_path / "a.mp4", pictures=noise, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    pictures = first_pass(path).pictures
    assert pictures is not None
    assert pictures.declared_end_s == pytest.approx(4.0)
    assert 1.0 < pictures.end_s < 3.0
    got, _ = second_pass(path, pictures.times_s)
    assert len(got) >= pictures.times_s.size - 6  # the last references of B pictures are gone


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
