"""Whisper's log-mel spectrogram, and the framing that the voice encoders share.

80 bands on the Slaney mel scale (linear below 1 kHz, logarithmic above) with Slaney area normalisation, a periodic
Hann window of 400 samples, hop 160 at 16 kHz; log10, floored 8 decades below the loudest value, then (x + 4) / 4
(Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", §2.2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
MELS = 80
LOG_FLOOR = 1e-10
DYNAMIC_RANGE_DECADES = 8.0
# The Slaney scale: 200/3 Hz a mel below 1 kHz, then 27 mels for each factor of 6.4.
HZ_PER_MEL = 200.0 / 3.0
KNEE_HZ = 1000.0
LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney mels of frequencies in hertz."""
    above = KNEE_HZ / HZ_PER_MEL + np.log(np.maximum(hz, KNEE_HZ) / KNEE_HZ) / LOG_STEP
    return np.where(hz < KNEE_HZ, hz / HZ_PER_MEL, above)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies in hertz of Slaney mels."""
    knee = KNEE_HZ / HZ_PER_MEL
    return np.where(mel < knee, mel * HZ_PER_MEL, KNEE_HZ * np.exp(LOG_STEP * (np.maximum(mel, knee) - knee)))


@cache
def mel_filters(mels: int = MELS, window_samples: int = WINDOW_SAMPLES) -> NDArray[np.float64]:
    """Triangular filters (bands, window_samples // 2 + 1) from 0 Hz to half the rate, each of equal area."""
    edges_mel = np.linspace(0.0, hz_to_mel(np.array([RATE_HZ / 2]))[0], mels + 2)
    edges_hz = mel_to_hz(edges_mel)
    bins_hz = np.linspace(0.0, RATE_HZ / 2, window_samples // 2 + 1)
    rising = (bins_hz[None, :] - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz[None, :]) / np.diff(edges_hz)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None])


def power_spectrogram(
    wave: NDArray[np.floating], *, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES
) -> NDArray[np.float64]:
    """Power (frames, window_samples // 2 + 1) of Hann windows centred on multiples of the hop; the wave is reflected
    at both ends (constant where it is too short to reflect)."""
    half = window_samples // 2
    samples = np.asarray(wave, dtype=np.float64)
    padded = np.pad(samples, half, mode="reflect") if wave.size > half else np.pad(samples, half, mode="edge")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / window_samples)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop_samples]
    spectrum = np.fft.rfft(frames * window, axis=1)
    return spectrum.real**2 + spectrum.imag**2


def whisper_log_mel(wave: NDArray[np.floating]) -> NDArray[np.float32]:
    """Whisper's input (80, N // 160) for a wave of N samples at 16 kHz; frame k is centred on k · 10 ms."""
    power = power_spectrogram(wave)[: max(1, wave.size // HOP_SAMPLES)]
    log_mel = np.log10(np.maximum(mel_filters() @ power.T, LOG_FLOOR))
    log_mel = np.maximum(log_mel, log_mel.max() - DYNAMIC_RANGE_DECADES)
    return np.asarray((log_mel + 4.0) / 4.0, dtype=np.float32)
