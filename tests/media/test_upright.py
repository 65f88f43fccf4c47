from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from components.contracts.config import MediaLimits
from components.media.frames import DecodeReport, frames
from tests.alignment.media import draw_face, grey, rotate, write_clip
from tests.alignment.passes import LIMITS, levels, second_pass


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
