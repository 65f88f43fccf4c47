"""Two people in one picture: the crop says which of them the clip is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.faces.crop import Crop
from components.alignment.faces.face import Faces
from components.contracts.config import Alignment, FaceAlignment
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip
from tests.alignment.media import draw_face, jpeg, write_clip
from tests.builders import make_clip

AlignFile = Callable[..., AlignedClip]
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
WIDTH, HEIGHT = 480, 240


@pytest.fixture
def two_people(tmp_path: Path) -> str:
    """The right one is larger, and is whom anybody would choose."""
    small = draw_face(WIDTH // 2, HEIGHT, side=0.5, centre=(0.5, 0.5))
    large = draw_face(WIDTH // 2, HEIGHT, side=0.75, centre=(0.42, 0.5))
    write_clip(tmp_path / "two.mp4", pictures=[np.concatenate([small, large], axis=1)] * 20)
    return "two.mp4"


def centre_x(clip: AlignedClip) -> float:
    return float(np.nanmean(clip.face_box[:, [0, 2]]))


def test_a_face_outside_of_the_crop_is_never_chosen(align_file: AlignFile, two_people: str) -> None:
    left = align_file(two_people, crop=LEFT)
    right = align_file(two_people, crop=RIGHT)
    assert left.masks["face"].all()
    assert right.masks["face"].all()
    assert centre_x(left) == pytest.approx(0.25 * WIDTH, abs=15)  # boxes are in pixels of the whole picture
    assert centre_x(right) == pytest.approx(0.71 * WIDTH, abs=15)
    for clip in (left, right):
        assert not any("faces seen" in note for note in clip.quality.notes)


def test_where_the_crop_shows_nobody_there_is_no_face(align_file: AlignFile, tmp_path: Path) -> None:
    alone = np.concatenate([draw_face(240, 240), np.full((240, 240, 3), (118, 132, 150), np.uint8)], axis=1)
    write_clip(tmp_path / "alone.mp4", pictures=[alone] * 20)
    assert align_file("alone.mp4", crop=LEFT).masks["face"].all()
    refused = Aligner(Alignment()).align_ungated(make_clip(video_path="alone.mp4", crop=RIGHT), root=tmp_path)
    assert not refused.masks["face"].any()
    assert "no face found" in refused.quality.notes


def test_nothing_from_outside_of_the_crop_gets_into_the_picture_of_a_face(tmp_path: Path) -> None:
    halves = np.zeros((120, 240, 3), dtype=np.uint8)
    halves[:, :120, 2] = np.linspace(60, 200, 120, dtype=np.uint8)[:, None]
    halves[:, 120:, 0] = 255
    write_clip(tmp_path / "a.mp4", pictures=[halves] * 10)
    aligner = Aligner(Alignment(face=FaceAlignment(detector="whole_frame")))
    clip = aligner.align(make_clip(video_path="a.mp4", crop=(0.0, 0.0, 0.45, 0.9)), root=tmp_path)
    for data in clip.face_jpeg:
        assert data is not None
        red, _, blue = jpeg(data).reshape(-1, 3).T
        assert red.max() < 60
        assert blue.max() > 150
    assert clip.face_box[0].tolist() == [0, 0, 108, 108]


def test_boxes_move_back_by_the_corner_in_the_first_picture() -> None:
    crop = Crop.of(make_clip(crop=(0.5, 0.25, 1.0, 1.0)))
    assert crop.cut(np.zeros((100, 200, 3), np.uint8), [0]).shape == (75, 100, 3)
    assert crop.cut(np.zeros((40, 80, 3), np.uint8), [1, 2]).shape == (30, 40, 3)
    box = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [np.nan] * 4], dtype=np.float32)
    placed = crop.placed(Faces(jpeg=(b"x", b"x", None), box=box, others=0)).box
    np.testing.assert_array_equal(placed, [[101, 27, 103, 29], [101, 27, 103, 29], [np.nan] * 4])


@pytest.mark.parametrize(
    "crop", [(0.5, 0.0, 0.5, 1.0), (0.6, 0.0, 0.4, 1.0), (-0.1, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 320.0)]
)
def test_a_crop_that_is_none_is_refused(
    aligner: Aligner, two_people: str, tmp_path: Path, crop: tuple[float, ...]
) -> None:
    with pytest.raises(MediaError, match="crop") as caught:
        aligner.align(make_clip(video_path=two_people, crop=crop), root=tmp_path)
    assert caught.value.code == "bad-crop"
