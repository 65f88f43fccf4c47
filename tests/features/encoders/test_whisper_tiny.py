from __future__ import annotations

import numpy as np
import pytest

from components.contracts.errors import ConfigError, DataError
from components.contracts.records import AlignedClip
from components.contracts.timebase import Grid
from components.features.encoders.whisper_tiny import CHUNK_SAMPLES, WhisperFrames, WhisperTiny
from tests.builders import make_aligned_clip


@pytest.fixture(scope="module")
def encoder() -> WhisperTiny:
    return WhisperTiny()


def glide(seconds: float, *, scale: float = 0.2) -> AlignedClip:
    time_s = np.arange(int(16000 * seconds)) / 16000
    wave = scale * np.sin(2 * np.pi * (120 + 60 * np.sin(2 * time_s)) * time_s)
    return make_aligned_clip(steps=int(np.ceil(10 * seconds)), pcm=(wave * 32767).astype(np.int16))


def test_one_vector_a_step(encoder: WhisperTiny) -> None:
    clip = glide(1.75)
    (encoded,) = encoder.encode([clip])
    assert encoded.values.shape == (18, 384)
    assert encoded.values.dtype == np.float32
    assert encoded.valid.all()
    assert np.isfinite(encoded.values).all()


def test_a_clip_does_not_depend_on_its_neighbours(encoder: WhisperTiny) -> None:
    first, second = glide(1.0), glide(2.3)
    together = encoder.encode([first, second])
    for clip, encoded in zip([first, second], together, strict=True):
        np.testing.assert_array_equal(encoder.encode([clip])[0].values, encoded.values)


def test_the_level_of_a_recording_does_not_matter(encoder: WhisperTiny) -> None:
    loud, quiet = encoder.encode([glide(1.5, scale=0.5), glide(1.5, scale=0.05)])
    np.testing.assert_allclose(loud.values, quiet.values, atol=0.05 * np.abs(loud.values).max())


def test_masked_steps_are_zero_and_silence_is_nothing(encoder: WhisperTiny) -> None:
    clip = glide(1.0)
    mask = np.ones(10, dtype=bool)
    mask[4:6] = False
    (partly,) = encoder.encode([make_aligned_clip(steps=10, pcm=clip.pcm, masks={"voice": mask})])
    np.testing.assert_array_equal(partly.valid, mask)
    assert not partly.values[4:6].any()
    (silent,) = encoder.encode([make_aligned_clip(steps=10, pcm=clip.pcm, masks={"voice": np.zeros(10, bool)})])
    assert not silent.valid.any()
    (absent,) = encoder.encode([make_aligned_clip(steps=10, pcm=np.zeros(0, np.int16), masks={})])
    assert absent.values.shape == (10, 384)


def test_a_sound_lands_in_its_own_steps(encoder: WhisperTiny) -> None:
    """A click at 1.0 s changes the steps around it most: no shift between the frames' clock and the grid."""
    base = glide(2.0)
    clicked = base.pcm.copy()
    clicked[16000:16320] = 30000
    before, after = encoder.encode([base, make_aligned_clip(steps=20, pcm=clicked)])
    change = np.linalg.norm(after.values - before.values, axis=1)
    assert int(change.argmax()) in (9, 10)


def test_longer_than_thirty_seconds(encoder: WhisperTiny) -> None:
    clip = glide(31.05)
    assert clip.pcm.size > CHUNK_SAMPLES
    (encoded,) = encoder.encode([clip])
    assert encoded.values.shape == (311, 384)
    assert encoded.valid.all()


def test_another_rate_is_refused(encoder: WhisperTiny) -> None:
    with pytest.raises(DataError, match="seen 8000; allowed: 16000"):
        encoder.encode([make_aligned_clip(audio_rate_hz=8000)])


def test_frames_have_their_place_in_a_step() -> None:
    """How they become the features of `whisper-tiny` is in tests/training/test_adapted.py."""
    encoder, clip = WhisperFrames(), glide(1.77)
    (encoded,) = encoder.encode([clip])
    assert encoded.values.shape == (18, encoder.width) == (18, 5 * 384)
    assert encoded.valid.all()
    frames = encoded.values.reshape(90, 384)
    # 1.77 s of sound are 89 frames of 20 ms, centred on multiples of 20 ms.
    assert frames[:89].any(axis=1).all()
    assert not frames[89].any()
    mask = np.ones(18, dtype=bool)
    mask[4:6] = False
    (partly,) = encoder.encode([make_aligned_clip(steps=18, pcm=clip.pcm, masks={"voice": mask})])
    np.testing.assert_array_equal(partly.valid, mask)
    assert not partly.values[4:6].any()
    (absent,) = encoder.encode([make_aligned_clip(steps=10, pcm=np.zeros(0, np.int16), masks={})])
    assert absent.values.shape == (10, 1920)


def test_frames_of_a_long_clip_are_those_of_its_parts() -> None:
    encoder, clip = WhisperFrames(), glide(31.5)
    (encoded,) = encoder.encode([clip])
    assert encoded.values.shape == (315, 1920)
    assert encoded.values.any(axis=1).all()


def test_frames_on_a_different_grid_are_refused() -> None:
    clip = make_aligned_clip(grid=Grid(rate_hz=25.0, num_steps=20))
    with pytest.raises(ConfigError, match=r"alignment.rate_hz.*seen 25.0; allowed: 10.0"):
        WhisperFrames().encode([clip])
