from __future__ import annotations

import cv2
import numpy as np
import pytest

from components.alignment.faces.envelope import RATE_HZ
from components.alignment.faces.lips import HEIGHT, WIDTH, Lips, mouth_of
from components.datasets.synthetic.action import COLUMN, UNITS
from components.datasets.synthetic.face import FacePainter, Pose
from tests.alignment.media import draw_face
from tests.alignment.talking import talkers

STILL = Pose(yaw=0.0, pitch=0.0, roll=0.0, shift_x=0.0, shift_y=0.0)


def grey_of(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


@pytest.mark.parametrize("side_px", [64, 200, 640])
def test_the_cut_shows_the_same_part_of_a_face_of_any_size(side_px: int) -> None:
    grey = grey_of(draw_face(side_px, side_px, side=0.9))
    box = np.array([0.15, 0.05, 0.85, 0.95], dtype=np.float32) * side_px
    large = grey_of(draw_face(1024, 1024, side=0.9))
    wanted = mouth_of(large, np.array([0.15, 0.05, 0.85, 0.95], dtype=np.float32) * 1024)
    cut = mouth_of(grey, box)
    assert cut.shape == (HEIGHT, WIDTH)
    assert np.abs(cut - wanted).mean() < 8


def test_a_fraction_of_a_pixel_is_no_movement() -> None:
    x = np.arange(200)[None, :].repeat(200, axis=0).astype(np.uint8)
    cuts = [mouth_of(x, np.array([50 + at, 50, 150 + at, 150], dtype=np.float32)).mean() for at in (0.0, 0.3, 0.6, 1.0)]
    assert np.diff(cuts) == pytest.approx([0.3, 0.3, 0.4], abs=0.04)


def test_a_mouth_that_opens_is_seen_in_every_look() -> None:
    painter = FacePainter(talkers(6)[0])
    lips = Lips()
    box = np.array([48, 40, 144, 160], dtype=np.float32)
    for k in range(10):
        units = np.zeros(len(UNITS))
        units[COLUMN[25]] = units[COLUMN[26]] = k / 9
        lips.add(k / 25, mouth_of(grey_of(painter.paint(units, STILL, 0)), box))
    looks = np.array(lips.looks)
    opening = np.arange(10)
    assert np.corrcoef(looks[:, 1], opening)[0, 1] > 0.7, "contrast"
    assert np.corrcoef(looks[:, 2], opening)[0, 1] > 0.7, "darkest part"
    assert np.isnan(lips.moves[0])
    assert min(lips.moves[1:]) > 0


def test_samples_are_interpolated_and_holes_are_not_bridged() -> None:
    lips = Lips()
    blank = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for time_s in (*np.arange(0, 1, 0.05), *np.arange(1.6, 2.6, 0.05)):
        lips.add(float(time_s), blank + np.float32(100 * time_s))
    values, seen = lips.sampled(3 * RATE_HZ)
    at = (np.arange(3 * RATE_HZ) + 0.5) / RATE_HZ
    assert not seen[(at > 0.96) & (at < 1.59)].any()
    assert not seen[at > 2.56].any()
    assert seen[(at > 0.01) & (at < 0.94)].all()
    inside = seen & (at < 0.94)
    assert values[inside, 4] == pytest.approx(100 * at[inside], abs=0.01)  # the chin is as bright as the whole
    assert values[inside, 0] == pytest.approx(5.0, abs=0.01)


def test_pieces_are_joined_without_a_movement_between_them() -> None:
    first, second = Lips(), Lips()
    for k in range(5):
        first.add(k / 25, np.full((HEIGHT, WIDTH), 10.0, dtype=np.float32))
        second.add(1 + k / 25, np.full((HEIGHT, WIDTH), 200.0, dtype=np.float32))
    whole = Lips.joined([second, first, Lips()])
    assert whole.times_s == [*first.times_s, *second.times_s]
    assert np.nansum(whole.moves) == 0.0
    assert not first.add(0.0, np.zeros((HEIGHT, WIDTH), dtype=np.float32))
    assert len(first.times_s) == 5, "what is not later is left out"
