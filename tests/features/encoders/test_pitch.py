from __future__ import annotations

import numpy as np
import pytest

from components.features.encoders.pitch import pitch

TIME_S = np.arange(16000) / 16000


def voice(hertz: float, harmonics: int = 12) -> np.ndarray:
    """A sawtooth-like tone: many harmonics, so that an octave error would be easy."""
    return sum(np.sin(2 * np.pi * hertz * k * TIME_S) / k for k in range(1, harmonics))


@pytest.mark.parametrize("hertz", [75.0, 110.0, 187.3, 240.0, 333.0, 450.0])
def test_a_voice_has_its_pitch(hertz: float) -> None:
    found, periodicity = pitch(voice(hertz), frames=100, hop_samples=160)
    np.testing.assert_allclose(found[5:95], hertz, rtol=0.01)
    assert periodicity[5:95].min() > 0.9


def test_a_glide_is_followed() -> None:
    hertz = 120 + 100 * TIME_S
    phase = 2 * np.pi * np.cumsum(hertz) / 16000
    found, _ = pitch(np.sin(phase) + 0.5 * np.sin(2 * phase), frames=100, hop_samples=160)
    np.testing.assert_allclose(found[5:95], hertz[::160][5:95], rtol=0.03)


def test_noise_and_silence_are_unvoiced() -> None:
    noise = np.random.default_rng(0).standard_normal(16000)
    assert (pitch(noise, frames=100, hop_samples=160)[0] > 0).mean() < 0.05
    hertz, periodicity = pitch(np.zeros(16000), frames=100, hop_samples=160)
    assert not hertz.any()
    assert not periodicity.any()


def test_quiet_hum_beside_speech_is_unvoiced() -> None:
    wave = voice(150)
    wave[8000:] *= 1e-3
    found, _ = pitch(wave, frames=100, hop_samples=160)
    assert (found[1:45] > 0).all()
    assert not found[55:].any()


def test_noise_over_a_voice_leaves_its_pitch() -> None:
    wave = voice(200) + 0.15 * np.random.default_rng(1).standard_normal(16000)
    found, _ = pitch(wave, frames=100, hop_samples=160)
    voiced = found[5:95][found[5:95] > 0]
    assert voiced.size > 70
    assert np.median(np.abs(voiced - 200)) < 3
