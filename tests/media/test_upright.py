from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from components.contracts.config import MediaLimits
from components.media.frames import DecodeReport, frames
from components.media.upright import STORED, Orientation
from tests.alignment.media import draw_face, grey, lay, rotate, write_clip, write_sizes
from tests.alignment.passes import LIMITS, first_pass, levels, second_pass


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


# Every way to lay a picture on its grid, and two of them with a scale that a player applies alike to both sides.
MATRICES = [
    (1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
    (0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0),
    (2, 0, 0, -2), (0, 0.5, 0.5, 0),
]  # fmt: skip


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_eight_orientations_are_shown_as_a_player_shows_them(
    tmp_path: Path, matrix: tuple[float, float, float, float]
) -> None:
    stored = draw_face(128, 96, centre=(0.35, 0.4))
    path = lay(write_clip(tmp_path / "a.mp4", pictures=[stored] * 5), matrix)
    glances: list[np.ndarray] = []
    ((_, shown),) = frames(
        path, np.array([0.0]), LIMITS, DecodeReport(), where="t", glance=lambda _, grey: glances.append(grey)
    )
    expected = placed_by(matrix, stored)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 6
    assert glances[0].shape == expected.shape[:2]
    assert np.abs(glances[0].astype(int) - cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY)).mean() < 20, "video range"


def placed_by(matrix: tuple[float, float, float, float], picture: np.ndarray) -> np.ndarray:
    """Each pixel (p, q) at (a p + c q, b p + d q), moved into view."""
    a, b, c, d = np.sign(matrix).astype(int)
    q, p = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    x, y = a * p + c * q, b * p + d * q
    x, y = x - x.min(), y - y.min()
    shown = np.zeros((y.max() + 1, x.max() + 1, 3), np.uint8)
    shown[y, x] = picture
    return shown


def test_a_matrix_that_makes_no_sense_leaves_the_picture_as_it_is(tmp_path: Path) -> None:
    path = lay(write_clip(tmp_path / "a.mp4", pictures=[draw_face(96, 64)] * 5), (0, 0, 0, 0))
    got, _ = second_pass(path, np.array([0.0]))
    assert got[0].shape == (64, 96, 3)
    assert Orientation.of_matrix(np.full(9, -(1 << 31), dtype=np.int32)).transposed is False
    assert Orientation.of_angle(-10.0) == STORED


def test_an_orientation_within_the_stream_holds_for_all_pictures_of_its_key_frame(tmp_path: Path) -> None:
    stored = draw_face(96, 64, centre=(0.35, 0.5))
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"tune": "zerolatency"}
        mirrored = BitStreamFilterContext("h264_metadata=display_orientation=insert:flip=horizontal", stream)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in stream.encode(frame):
                container.mux(mirrored.filter(packet))
    got, _ = second_pass(path, first_pass(path).pictures.times_s)
    assert len(got) == 5
    assert max(float(np.abs(picture.astype(int) - stored[:, ::-1]).mean()) for picture in got.values()) < 6


@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libvpx"), ("ts", "libx264")])
def test_a_size_that_changes_in_mid_stream_is_decoded_as_it_is(tmp_path: Path, suffix: str, codec: str) -> None:
    parts = [[draw_face(width, height)] * 5 for width, height in ((128, 96), (64, 48), (48, 96))]
    path = write_sizes(tmp_path / f"a.{suffix}", parts, codec=codec)
    got, report = second_pass(path, first_pass(path).pictures.times_s)
    assert [got[k].shape[1::-1] for k in (0, 4, 5, 9, 10, 14)] == [(128, 96)] * 2 + [(64, 48)] * 2 + [(48, 96)] * 2
    assert report.dropped_frames == 0


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
