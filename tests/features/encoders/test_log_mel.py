from __future__ import annotations

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from components.features.encoders.log_mel import hz_to_mel, mel_filters, mel_to_hz, power_spectrogram, whisper_log_mel


def test_filters_equal_the_reference() -> None:
    reference = WhisperFeatureExtractor(feature_size=80).mel_filters
    np.testing.assert_allclose(mel_filters().T, reference, atol=1e-9)


def test_mel_scale_turns_back() -> None:
    hz = np.array([0.0, 440.0, 999.0, 1000.0, 7000.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-9)


def test_log_mel_equals_the_reference_on_thirty_seconds() -> None:
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(30 * 16000)).astype(np.float32)
    reference = WhisperFeatureExtractor(feature_size=80)(wave, sampling_rate=16000, return_tensors="np")
    np.testing.assert_allclose(whisper_log_mel(wave), reference["input_features"][0], atol=1e-4)


@pytest.mark.parametrize("samples", [1, 160, 399, 400, 1234, 16000])
def test_any_length_has_one_frame_each_ten_milliseconds(samples: int) -> None:
    mel = whisper_log_mel(np.full(samples, 0.1, np.float32))
    assert mel.shape == (80, max(1, samples // 160))
    assert np.isfinite(mel).all()


def test_silence_is_finite() -> None:
    assert np.isfinite(whisper_log_mel(np.zeros(800, np.float32))).all()


def test_power_of_a_tone_is_in_its_bin() -> None:
    wave = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    power = power_spectrogram(wave)
    assert set(power[5:-5].argmax(axis=1)) == {25}
