from __future__ import annotations

import cv2
import numpy as np

from components.features.encoders.faces import grey_crops, rgb_crops, valid_steps
from tests.builders import make_aligned_clip


def png(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


def test_colours_come_as_red_green_blue() -> None:
    blue = np.zeros((96, 96, 3), np.uint8)
    blue[:, :, 0] = 200  # OpenCV writes blue first
    clip = make_aligned_clip(steps=1, face_jpeg=(png(blue),))
    (picture,) = rgb_crops(clip, np.array([0]))
    assert picture[0, 0].tolist() == [0, 0, 200]


def test_crops_are_resized() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[25:75, 25:75] = 255
    clip = make_aligned_clip(steps=1, face_jpeg=(png(picture),))
    whole = grey_crops(clip, np.array([0]), 64)
    assert whole.shape == (1, 64, 64)
    assert whole[0, 0, 0] == 0
    assert whole[0, 32, 32] == 255


def test_valid_steps_need_a_mask_and_a_crop() -> None:
    crop = png(np.zeros((8, 8, 3), np.uint8))
    clip = make_aligned_clip(steps=4, face_jpeg=(crop, None, crop, crop), masks={"face": np.array([1, 1, 0, 1], bool)})
    assert valid_steps(clip).tolist() == [0, 3]
    assert valid_steps(make_aligned_clip(steps=4, masks={})).size == 0
