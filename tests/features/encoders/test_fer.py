from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from components.contracts.errors import MediaError
from components.features.encoders import fer as fer_module
from components.features.encoders.faces import grey_crops
from components.features.encoders.fer import Fer
from components.features.encoders.fer_net import mini_xception
from components.runtime.weights import weight_file
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


def test_its_own_scores_are_those_of_the_network_beside_the_features() -> None:
    clip = make_aligned_clip(steps=3, face_jpeg=(jpeg(0), None, jpeg(2)))
    encoder = Fer()
    [scores], [features] = encoder.classify([clip]), encoder.encode([clip])
    assert scores.valid.tolist() == features.valid.tolist() == [True, False, True]
    assert scores.values.shape == (3, len(encoder.pretrained.labels))
    grey = grey_crops(clip, np.array([0, 2]), 64).astype(np.float32) / 127.5 - 1
    with torch.inference_mode():
        expected, logits = mini_xception(weight_file("fer"))(torch.from_numpy(grey)[:, None])
    np.testing.assert_allclose(scores.values[[0, 2]], logits, atol=1e-5)
    np.testing.assert_allclose(features.values[[0, 2]], expected, atol=1e-5)


def test_no_face_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fer_module, "weight_file", lambda name: pytest.fail("loaded"))
    (encoded,) = Fer().encode([make_aligned_clip(steps=4, face_jpeg=(None,) * 4)])
    assert encoded.values.shape == (4, 128)
    assert not encoded.valid.any()


def test_a_crop_that_is_no_picture_is_named() -> None:
    with pytest.raises(MediaError, match="tiny/a, step 0: a face crop is not a picture"):
        Fer().encode([make_aligned_clip(steps=2, face_jpeg=(b"text", b"text"))])
