"""Fundamental frequency by YIN (de Cheveigné and Kawahara 2002, §2, steps 1 to 5), vectorised over frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from components.features.encoders.log_mel import RATE_HZ

PITCH_VERSION = 1
LOWEST_HZ = 65.0
HIGHEST_HZ = 500.0
# A dip below this counts as a period (the paper uses 0.1 on clean speech; 0.2 keeps breathy and noisy voices).
THRESHOLD = 0.2
# A frame this far below the loudest has no voice, however periodic it is.
SILENCE_DB = -40.0
WINDOW_SAMPLES = 512
_FFT = 1024


def pitch(
    wave: NDArray[np.floating], *, frames: int, hop_samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch of a wave at 16 kHz.

    Args:
        wave: (N,).
        frames: how many frames; frame k is centred on sample k · hop_samples, outside counts as silence.
        hop_samples: samples between frames.

    Returns:
        ((frames,) hertz, 0 where unvoiced; (frames,) periodicity, 1 − the depth of the best dip, in [0, 1]).
    """
    longest = int(RATE_HZ / LOWEST_HZ)
    shortest = int(RATE_HZ / HIGHEST_HZ)
    span = WINDOW_SAMPLES + longest
    padded = np.pad(np.asarray(wave, dtype=np.float64), (span // 2, span + hop_samples))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, span)[::hop_samples][:frames]
    difference = _difference(blocks, longest)
    lags = np.arange(1, longest + 1)
    running = np.cumsum(difference[:, 1:], axis=1) / lags
    normalised = np.ones_like(difference)
    normalised[:, 1:] = difference[:, 1:] / np.maximum(running, 1e-12)
    inside = normalised[:, shortest : longest - 1]
    before, after = normalised[:, shortest - 1 : longest - 2], normalised[:, shortest + 1 : longest]
    dip = (inside <= before) & (inside < after)
    good = dip & (inside < THRESHOLD)
    # The first dip that is deep enough; where there is none, the deepest, for the periodicity alone.
    best = np.where(good.any(axis=1), good.argmax(axis=1), np.where(dip, inside, 1.0).argmin(axis=1))
    row = np.arange(len(blocks))
    centre, left, right = inside[row, best], before[row, best], after[row, best]
    bend = left - 2.0 * centre + right
    shift = np.where(bend > 1e-12, 0.5 * (left - right) / np.where(bend > 1e-12, bend, 1.0), 0.0)
    hertz = RATE_HZ / (best + shortest + np.clip(shift, -0.5, 0.5))
    energy = (blocks**2).mean(axis=1)
    loud = energy > energy.max(initial=0.0) * 10 ** (SILENCE_DB / 10)
    voiced = good.any(axis=1) & loud
    return np.where(voiced, hertz, 0.0), np.clip(1.0 - centre, 0.0, 1.0) * loud


def _difference(blocks: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """Squared difference (frames, longest + 1) between a window and itself a lag later (equation 6), through the
    correlation theorem: the energy of both less twice their correlation."""
    window = blocks[:, :WINDOW_SAMPLES]
    spectrum = np.fft.rfft(blocks, _FFT, axis=1) * np.conj(np.fft.rfft(window, _FFT, axis=1))
    correlation = np.fft.irfft(spectrum, _FFT, axis=1)[:, : longest + 1]
    energy = np.concatenate([np.zeros((len(blocks), 1)), np.cumsum(blocks**2, axis=1)], axis=1)
    later = energy[:, WINDOW_SAMPLES : WINDOW_SAMPLES + longest + 1] - energy[:, : longest + 1]
    return np.maximum(energy[:, WINDOW_SAMPLES, None] + later - 2.0 * correlation, 0.0)
