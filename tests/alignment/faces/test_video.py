"""One person stays one person whatever the picture's size, shape and orientation do within the clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from components.alignment.align import Aligner
from tests.alignment.media import Picture, draw_face, jpeg, write_sizes
from tests.builders import make_clip

WIDTH, HEIGHT = 256, 192
PART = 12


FACE = draw_face(WIDTH, HEIGHT)
GREY = 130


def scaled(width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(FACE, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def upright() -> Picture:
    """The same face, as a phone held upright shows it: less at the sides, more above and below."""
    sides, above = (WIDTH - HEIGHT) // 2, (WIDTH - HEIGHT) // 2
    return np.pad(FACE[:, sides:-sides], ((above, above), (0, 0), (0, 0)), constant_values=GREY)


@pytest.mark.parametrize(
    ("name", "first", "then", "codec"),
    [
        ("half.webm", FACE, scaled(128, 96), "libvpx"),
        ("double.webm", scaled(128, 96), FACE, "libvpx"),
        ("much_smaller.ts", FACE, scaled(96, 72), "libx264"),
        ("turned.ts", FACE, upright(), "libx264"),
        ("cut_to_16_9.ts", FACE, FACE[24:-24], "libx264"),
    ],
)
def test_a_face_is_one_face_through_a_change_of_size(
    aligner: Aligner, tmp_path: Path, *, name: str, first: Picture, then: Picture, codec: str
) -> None:
    write_sizes(tmp_path / name, [[first] * PART, [then] * PART, [first] * PART], codec=codec)
    clip = aligner.align(make_clip(video_path=name), root=tmp_path)
    assert clip.quality.coverage["face"] == 1.0
    sizes = ", ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in (first, then))
    assert clip.quality.notes == ("no sound", f"the picture changes its size: {sizes}; shown on one canvas")
    height, width = first.shape[:2]
    assert np.abs((clip.face_box[:, :2] + clip.face_box[:, 2:]) / 2 - (width / 2, height / 2)).max() < 0.06 * width
    crops = [jpeg(data).astype(int) for data in clip.face_jpeg if data is not None]
    assert max(float(np.abs(crop - crops[0]).mean()) for crop in crops) < 30


def test_crops_are_cut_at_the_resolution_of_their_own_picture(aligner: Aligner, tmp_path: Path) -> None:
    write_sizes(tmp_path / "a.webm", [[scaled(96, 72)] * PART, [FACE] * PART])
    clip = aligner.align(make_clip(video_path="a.webm"), root=tmp_path)
    detail = [float(np.abs(np.diff(jpeg(data).astype(int), axis=1)).mean()) for data in clip.face_jpeg if data]
    assert len(detail) == clip.grid.num_steps
    assert detail[-1] > 1.1 * detail[0]


def test_a_part_of_a_picture_stays_that_part(aligner: Aligner, tmp_path: Path) -> None:
    two = [np.concatenate([face, face], axis=1) for face in (FACE, scaled(WIDTH // 2, HEIGHT // 2))]
    write_sizes(tmp_path / "a.webm", [[picture] * PART for picture in two])
    clip = aligner.align(make_clip(video_path="a.webm", crop=(0.0, 0.0, 0.5, 1.0)), root=tmp_path)
    assert clip.quality.coverage["face"] == 1.0
    centres = (clip.face_box[:, :2] + clip.face_box[:, 2:]) / 2
    assert np.abs(centres - (WIDTH / 2, HEIGHT / 2)).max() < 16
