from __future__ import annotations

import numpy as np
import pytest

from components.alignment.faces.fit import Fit

BOX = np.array([10, 20, 30, 60], dtype=np.float32)


def test_a_picture_of_the_canvas_size_is_the_canvas() -> None:
    fit = Fit.of((384, 256), (384, 256))
    assert fit == Fit()
    assert fit.to_picture(BOX).tolist() == fit.to_canvas(BOX).tolist() == BOX.tolist()


@pytest.mark.parametrize(
    ("size", "in_picture"),
    [
        ((192, 128), [5, 10, 15, 30]),  # half
        ((768, 512), [20, 40, 60, 120]),  # double
        ((384, 216), [10, 0, 30, 40]),  # the same pixels, cut to a wider shape: 20 px are missing above
        ((256, 384), [-145, 30, -115, 90]),  # turned upright: as high as the canvas, bars beside it
    ],
)
def test_a_picture_lies_in_the_middle_of_the_canvas(size: tuple[int, int], in_picture: list[float]) -> None:
    fit = Fit.of(size, (384, 256))
    assert fit.to_picture(BOX).tolist() == pytest.approx(in_picture, abs=0.01)
    assert fit.to_canvas(np.array(in_picture, dtype=np.float32)).tolist() == BOX.tolist()


@pytest.mark.parametrize("size", [(426, 240), (320, 180), (854, 480)])
def test_sizes_of_one_shape_differ_by_a_scale_alone(size: tuple[int, int]) -> None:
    assert Fit.of(size, (1280, 720)) == Fit(size[0] / 1280)
