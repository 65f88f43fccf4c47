from __future__ import annotations

import subprocess
import sys

import numpy as np

from components.features.encoders.hashing import HashedWords, hashed
from tests.builders import make_aligned_clip


def test_words_have_length_one_and_case_does_not_matter() -> None:
    assert abs(float(np.linalg.norm(hashed("terrible"))) - 1) < 1e-6
    np.testing.assert_array_equal(hashed("Terrible!"), hashed("terrible"))
    assert not hashed("...").any()


def test_words_that_share_letters_are_nearer() -> None:
    assert hashed("happy") @ hashed("unhappy") > 0.2 > abs(hashed("happy") @ hashed("table"))


def test_the_hash_is_the_same_in_every_process() -> None:
    code = "from components.features.encoders.hashing import hashed; print(hashed('wonderful').tobytes().hex())"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_one_vector_a_step() -> None:
    (encoded,) = HashedWords().encode([make_aligned_clip()])
    assert encoded.values.shape == (20, 256)
    assert np.nonzero(encoded.valid)[0].tolist() == list(range(2, 12))
    (none,) = HashedWords().encode([make_aligned_clip(words=())])
    assert not none.valid.any()
