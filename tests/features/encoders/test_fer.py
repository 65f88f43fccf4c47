from __future__ import annotations

import cv2
import numpy as np
import pytest

from components.contracts.errors import MediaError
from components.features.encoders import fer as fer_module
from components.features.encoders.fer import Fer
from tests.builders import make_aligned_clip


def jpeg(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), (96, 96))
    return bytes(cv2.imencode(".jpg", picture)[1])


def test_one_vector_a_step_with_a_face() -> None:
    crops = [jpeg(step) for step in range(6)]
    mask = np.array([True, True, False, True, True, True])
    clip = make_aligned_clip(steps=6, face_jpeg=(*crops[:4], None, crops[5]), masks={"face": mask})
    (encoded,) = Fer().encode([clip])
    assert encoded.values.shape == (6, 128)
    # Step 2 is masked, step 4 has no crop.
    assert encoded.valid.tolist() == [True, True, False, True, False, True]
    assert not encoded.values[[2, 4]].any()
    assert len({row.tobytes() for row in encoded.values[encoded.valid]}) == 4


def test_a_step_is_the_same_whatever_it_is_batched_with(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_aligned_clip(steps=7, face_jpeg=tuple(jpeg(step) for step in range(7)))
    (whole,) = Fer().encode([clip])
    monkeypatch.setattr(fer_module, "BATCH_PICTURES", 3)
    (pieces,) = Fer().encode([clip])
    np.testing.assert_allclose(whole.values, pieces.values, atol=1e-5)


def test_no_face_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fer_module, "weight_file", lambda name: pytest.fail("loaded"))
    (encoded,) = Fer().encode([make_aligned_clip(steps=4, face_jpeg=(None,) * 4)])
    assert encoded.values.shape == (4, 128)
    assert not encoded.valid.any()


def test_a_crop_that_is_no_picture_is_named() -> None:
    with pytest.raises(MediaError, match="tiny/a, step 0: a face crop is not a picture"):
        Fer().encode([make_aligned_clip(steps=2, face_jpeg=(b"text", b"text"))])
