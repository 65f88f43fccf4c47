"""Small faces are found in a second look, which only a clip without any face gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.faces import small
from components.alignment.faces.face import Picture
from components.alignment.faces.mtcnn import Detection
from components.contracts.config import Alignment, FaceAlignment
from tests.alignment.media import draw_face, write_clip
from tests.builders import make_clip

# A quarter of the default sizes, for speed: faces below 128 px of 640 are not seen at first, and 32 px is the limit.
QUARTER = FaceAlignment(detect_side_px=160, fine_side_px=640)


class Scripted:
    """A detector that answers with faces of these sides for one picture after another."""

    def __init__(self, *sides: float) -> None:
        self.sides = list(sides)
        self.asked = 0

    def detect(self, rgb: Picture) -> list[Detection]:
        self.asked += 1
        side = self.sides.pop(0)
        box = np.array([10, 10, 10 + side, 10 + side], dtype=np.float32)
        return [Detection(box=box, confidence=0.99)] if side else []


def noise(count: int) -> list[Picture]:
    return [np.random.default_rng(k).integers(0, 256, (360, 640, 3), dtype=np.uint8) for k in range(count)]


@pytest.fixture(scope="module")
def quarter() -> Aligner:
    return Aligner(Alignment(face=QUARTER))


@pytest.mark.parametrize("side_px", [45, 60])
def test_a_small_face_is_found_and_told(quarter: Aligner, tmp_path: Path, side_px: int) -> None:
    picture = draw_face(640, 360, centre=(0.3, 0.4), side=side_px / 360)
    write_clip(tmp_path / "a.mp4", pictures=[picture] * 15, fps=15)
    clip = quarter.align(make_clip(video_path="a.mp4"), root=tmp_path)
    assert clip.quality.coverage["face"] == 1.0
    assert "the face is below 128 px and was found in a second, finer look" in clip.quality.notes
    assert np.abs((clip.face_box[:, :2] + clip.face_box[:, 2:]) / 2 - (192, 144)).max() < 20


def test_where_no_face_is_found_the_limit_is_told(quarter: Aligner, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pictures=[np.full((360, 640, 3), 120, np.uint8)] * 5)
    clip = quarter.align_ungated(make_clip(video_path="a.mp4"), root=tmp_path)
    assert {"no face found", "faces below 32 px are not found"} <= set(clip.quality.notes)


def test_looks_are_spread_over_the_clip() -> None:
    assert small.spread(1) == [0]
    assert small.spread(3) == [0, 1, 2]
    assert small.spread(800) == [50, 150, 250, 350, 450, 550, 650, 750]


def test_the_size_of_the_smallest_face_sets_the_cost() -> None:
    # 32 px / 0.75 of room / (40 px of 640): 683 px, which the finest look bounds.
    assert small.fitting_side(noise(3), Scripted(100, 0, 80), QUARTER) == 342
    assert small.fitting_side(noise(3), Scripted(100, 40, 80), QUARTER) == 640
    assert small.fitting_side(noise(3), Scripted(400, 400, 400), QUARTER) == 160


def test_a_face_in_a_single_picture_may_be_a_texture() -> None:
    assert small.fitting_side(noise(3), Scripted(0, 50, 0), QUARTER) is None
    assert small.fitting_side(noise(1), Scripted(50), QUARTER) is not None
    black = Scripted()
    assert small.fitting_side([np.zeros((360, 640, 3), np.uint8)] * 3, black, QUARTER) is None
    assert black.asked == 0


def test_pictures_that_were_not_shrunk_are_not_looked_at_again() -> None:
    assert small.looks_again(640, QUARTER)
    assert not small.looks_again(160, QUARTER)
    assert not small.looks_again(640, QUARTER.model_copy(update={"fine_side_px": 160}))
    assert small.limit_px(1920, 320, FaceAlignment()) == 192
    assert small.limit_px(100, 320, FaceAlignment()) == 32
