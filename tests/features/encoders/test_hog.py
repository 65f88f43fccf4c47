from __future__ import annotations

import numpy as np

from components.features.encoders.hog import CELLS, ORIENTATIONS, Hog, hog
from tests.builders import make_aligned_clip


def stripes(angle: float) -> np.ndarray:
    """A sine whose brightness rises along `angle`."""
    rows, columns = np.mgrid[0:96, 0:96]
    along = np.cos(angle) * columns + np.sin(angle) * rows
    return np.asarray(127 + 100 * np.sin(along / 3), dtype=np.uint8)


def test_the_orientation_of_stripes_is_found() -> None:
    for angle in np.linspace(0, np.pi, 7, endpoint=False):
        inner = hog(stripes(angle)).reshape(CELLS, CELLS, ORIENTATIONS)[1:-1, 1:-1].sum(axis=(0, 1))
        bins = (np.arange(ORIENTATIONS) + 0.5) * np.pi / ORIENTATIONS
        found = np.angle((inner**2 * np.exp(2j * bins)).sum()) / 2 % np.pi
        assert min(abs(found - angle), np.pi - abs(found - angle)) < 0.1


def test_brightness_and_contrast_do_not_matter() -> None:
    picture = stripes(0.7).astype(float)
    darker = np.asarray(picture * 0.4 + 20, dtype=np.uint8)
    np.testing.assert_allclose(hog(picture.astype(np.uint8)), hog(darker), atol=0.02)


def test_a_flat_picture_is_zero() -> None:
    assert not hog(np.full((96, 96), 80, np.uint8)).any()


def test_one_vector_a_step() -> None:
    clip = make_aligned_clip(steps=5)
    (encoded,) = Hog().encode([clip])
    assert encoded.values.shape == (5, 324) == (5, Hog().width)
    assert encoded.valid.all()
    (none,) = Hog().encode([make_aligned_clip(steps=5, masks={})])
    assert not none.valid.any()
