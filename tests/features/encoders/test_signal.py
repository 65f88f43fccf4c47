from __future__ import annotations

import numpy as np
import pytest

from components.features.encoders.signal import NAMES, STATISTICS, VoiceSignal, context, frame_features
from tests.builders import make_aligned_clip

TIME_S = np.arange(16000) / 16000


def column(name: str, statistic: str = "mean") -> int:
    return STATISTICS.index(statistic) * len(NAMES) + NAMES.index(name)


def features(wave: np.ndarray) -> np.ndarray:
    return frame_features((0.1 * wave / np.sqrt(np.mean(wave**2))).astype(np.float32))[0]


def harmonic(hertz: np.ndarray, tilt: float = 1.0, count: int = 34) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(hertz) / 16000
    return sum(np.sin(k * phase) / k**tilt for k in range(1, count))


def test_brighter_sound_has_higher_centroid_and_flatter_tilt() -> None:
    dull, bright = (
        features(harmonic(np.full(16000, 150.0), 2.5, 53)),
        features(harmonic(np.full(16000, 150.0), 0.5, 53)),
    )
    for name in ("centroid_khz", "tilt_db_per_khz", "above_1khz_db", "zero_crossings_khz"):
        assert np.median(bright[:, NAMES.index(name)]) > np.median(dull[:, NAMES.index(name)]), name


def test_pitch_is_in_semitones() -> None:
    low, high = (features(harmonic(np.full(16000, hertz))) for hertz in (110.0, 220.0))
    index = NAMES.index("pitch_absolute")
    assert np.median(low[:, index]) == pytest.approx(12.0, abs=0.2)
    assert np.median(high[:, index]) == pytest.approx(24.0, abs=0.2)
    assert np.median(high[:, NAMES.index("pitch_relative")]) == pytest.approx(0.0, abs=0.05)


def test_a_rising_voice_has_a_rising_slope() -> None:
    octave_a_second = 110 * 2**TIME_S
    clip = make_aligned_clip(steps=10, pcm=(3000 * harmonic(octave_a_second)).astype(np.int16))
    (encoded,) = VoiceSignal().encode([clip])
    np.testing.assert_allclose(encoded.values[3:7, column("pitch_relative", "slope")], 12.0, rtol=0.1)
    falling = make_aligned_clip(steps=10, pcm=(3000 * harmonic(octave_a_second[::-1])).astype(np.int16))
    (other,) = VoiceSignal().encode([falling])
    np.testing.assert_allclose(other.values[3:7, column("pitch_relative", "slope")], -12.0, rtol=0.1)


def test_energy_is_relative_to_the_clip() -> None:
    wave = harmonic(np.full(16000, 150.0))
    wave[:8000] *= 0.1
    found = features(wave)[:, NAMES.index("energy_db")]
    assert np.median(found[60:]) - np.median(found[:40]) == pytest.approx(20.0, abs=0.5)


def test_white_noise_at_the_target_level_is_about_zero_decibel() -> None:
    found = features(np.random.default_rng(0).standard_normal(16000))
    assert found[:, NAMES.index("energy_db")].mean() == pytest.approx(0.0, abs=0.5)
    assert found[:, NAMES.index("voiced")].mean() < 0.05


def test_slope_and_deviation_are_those_of_a_straight_line() -> None:
    line = (3.0 * np.arange(200) * 0.01)[:, None]
    slope, deviation = context(line, np.ones_like(line))
    np.testing.assert_allclose(slope[30:170], 3.0, rtol=1e-6)
    np.testing.assert_allclose(deviation[30:170], np.std(line[:51]), rtol=1e-6)


def test_frames_without_weight_do_not_count() -> None:
    values = np.where(np.arange(60) % 2 == 0, 1.0, 99.0)[:, None]
    slope, deviation = context(values, (values == 1.0).astype(float))
    np.testing.assert_allclose(slope, 0, atol=1e-9)
    np.testing.assert_allclose(deviation, 0, atol=1e-6)
    alone = np.zeros((60, 1))
    alone[30] = 1.0
    assert not context(np.ones((60, 1)), alone)[0].any()


def test_one_finite_vector_a_step() -> None:
    rng = np.random.default_rng(0)
    waves = (
        np.zeros(32000),
        rng.standard_normal(32000) * 3000,
        np.full(32000, 5000.0),
        np.where(np.arange(32000) == 9000, 30000.0, 0.0),
        rng.standard_normal(50) * 3000,
    )
    encoder = VoiceSignal()
    for wave in waves:
        (encoded,) = encoder.encode([make_aligned_clip(steps=20, pcm=wave.astype(np.int16))])
        assert encoded.values.shape == (20, encoder.width) == (20, 81)
        assert np.isfinite(encoded.values).all()
    (absent,) = encoder.encode([make_aligned_clip(steps=3, masks={})])
    assert not absent.valid.any()
