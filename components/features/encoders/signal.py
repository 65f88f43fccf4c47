"""`signal` (voice): phonetic measures of a voice, 81 features per step; needs no weights.

From the level-normalised wave, each 10 ms:

* cepstrum: 14 coefficients of 40 log-mel bands (Davis and Mermelstein 1980), the shape of the vocal tract;
* pitch: fundamental frequency by the cumulative mean normalised difference (YIN; de Cheveigné and Kawahara 2002, §2) in
  semitones relative to the clip's median, and in semitones above 55 Hz; periodicity, and whether the frame is voiced;
* energy in dB relative to the clip's RMS;
* spectrum: centroid, spread, slope (tilt), energy above 1 kHz and above 4 kHz relative to all (dB), flatness, flux;
* zero-crossing rate.

A step holds, for each of these, the mean over its frames, the slope over about half a second around it, and the
standard deviation there: emotion in a voice lies in how pitch and energy move, which a mean over 0.1 s cannot show.
Pitch statistics count voiced frames only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy  # loads `fft` where it is first used
from numpy.typing import NDArray

from components.contracts.fingerprint import fingerprint
from components.contracts.records import AlignedClip
from components.contracts.timebase import pool_mean
from components.features.base import Encoded, empty, mask_of, masked
from components.features.encoders.audio import AUDIO_VERSION, TARGET_RMS, has_voice, level_normalised
from components.features.encoders.log_mel import RATE_HZ, mel_filters, power_spectrogram
from components.features.encoders.pitch import PITCH_VERSION, pitch

VERSION = 1
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
HOP_S = HOP_SAMPLES / RATE_HZ
BANDS = 40
CEPSTRA = 14
FLOOR = 1e-9
# Noise added to every bin, relative to white noise at the target level: what a codec or a gate cut to nothing must not
# look like an extreme tilt.
NOISE_FLOOR = 1e-6
PITCH_BASE_HZ = 55.0
# Half width of the window for slopes and deviations, frames: 0.25 s, about a syllable each side.
CONTEXT_FRAMES = 25
DB_RANGE = 60.0

NAMES: tuple[str, ...] = (
    *(f"cepstrum_{index}" for index in range(1, CEPSTRA + 1)),
    "pitch_relative",
    "pitch_absolute",
    "periodicity",
    "voiced",
    "energy_db",
    "centroid_khz",
    "spread_khz",
    "tilt_db_per_khz",
    "above_1khz_db",
    "above_4khz_db",
    "flatness_db",
    "flux",
    "zero_crossings_khz",
)
STATISTICS = ("mean", "slope", "deviation")


class VoiceSignal:
    """Signal features in numpy and scipy. About 16 ms for 3.7 s on one thread."""

    modality = "voice"
    width = len(NAMES) * len(STATISTICS)

    def __init__(self, name: str = "signal") -> None:
        self.name = name

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, modality and this code's version."""
        return fingerprint({"spec": self.name, "modality": "voice", "version": [VERSION, AUDIO_VERSION, PITCH_VERSION]})

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, D) per clip, D = features × statistics; valid where the voice mask is."""
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        if not has_voice(clip):
            return empty(clip.grid.num_steps, self.width)
        wave = level_normalised(clip)
        frames, weights = frame_features(wave)
        values = np.concatenate([frames, *context(frames, weights)], axis=1)
        centres_s = np.arange(len(values), dtype=np.float64) * HOP_S
        ends_s = centres_s + HOP_S / 2
        ends_s[-1] = max(ends_s[-1], wave.size / RATE_HZ)
        pooled, covered = pool_mean(values, np.maximum(centres_s - HOP_S / 2, 0.0), ends_s, clip.grid)
        return masked(pooled, covered & mask_of(clip, "voice"))


def frame_features(wave: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features (frames, NAMES) of a wave at 16 kHz, and the weight (frames, NAMES) each has in statistics: 0 for the
    pitch of unvoiced frames, which is set to 0, else 1. Frame k is centred on k · 10 ms."""
    power = power_spectrogram(wave, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
    power += NOISE_FLOOR * _reference_power() / power.shape[1]
    bins_khz = np.linspace(0.0, RATE_HZ / 2000, power.shape[1])
    total = power.sum(axis=1)
    share = power / total[:, None]
    centroid = share @ bins_khz
    spread = np.sqrt(np.maximum((share * (bins_khz[None, :] - centroid[:, None]) ** 2).sum(axis=1), 0.0))
    log_db = 10.0 * np.log10(power)
    ramp = bins_khz - bins_khz.mean()
    tilt = (log_db @ ramp) / (ramp @ ramp)
    log_mel = np.log(power @ mel_filters(BANDS, WINDOW_SAMPLES).T + FLOOR)
    cepstrum = scipy.fft.dct(log_mel, type=2, norm="ortho", axis=1)[:, 1 : CEPSTRA + 1]
    level = 10.0 * np.log10(total / _reference_power())
    flux = np.zeros(len(power))
    flux[1:] = np.sqrt((np.diff(np.sqrt(share), axis=0) ** 2).sum(axis=1))
    hertz, periodicity = pitch(wave, frames=len(power), hop_samples=HOP_SAMPLES)
    voiced = hertz > 0
    semitones = 12.0 * np.log2(np.where(voiced, hertz, PITCH_BASE_HZ) / PITCH_BASE_HZ)
    median = float(np.median(semitones[voiced])) if voiced.any() else 0.0
    columns = [
        *cepstrum.T,
        np.where(voiced, semitones - median, 0.0),
        np.where(voiced, semitones, 0.0),
        periodicity,
        voiced.astype(np.float64),
        np.maximum(level, -DB_RANGE),
        centroid,
        spread,
        tilt,
        10.0 * np.log10(share[:, bins_khz >= 1.0].sum(axis=1) + FLOOR),
        10.0 * np.log10(share[:, bins_khz >= 4.0].sum(axis=1) + FLOOR),
        log_db.mean(axis=1) - 10.0 * np.log10(power.mean(axis=1)),
        flux,
        _zero_crossings(wave, len(power)) * (RATE_HZ / 1000.0),
    ]
    features = np.stack(columns, axis=1)
    weights = np.ones_like(features)
    for name in ("pitch_relative", "pitch_absolute"):
        weights[:, NAMES.index(name)] = voiced
    return features, weights


def context(
    frames: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted slope (units per second) and standard deviation of each feature over ±0.25 s around each frame; 0 where
    fewer than two frames count."""
    offset_s = np.arange(-CONTEXT_FRAMES, CONTEXT_FRAMES + 1, dtype=np.float64) * HOP_S
    ones = np.ones(offset_s.size)
    count = _window_sum(weights, ones)
    safe = np.maximum(count, 1.0)
    mean = _window_sum(weights * frames, ones) / safe
    time = _window_sum(weights, offset_s) / safe
    cross = _window_sum(weights * frames, offset_s) / safe - time * mean
    time_variance = _window_sum(weights, offset_s**2) / safe - time**2
    variance = np.maximum(_window_sum(weights * frames**2, ones) / safe - mean**2, 0.0)
    enough = (count >= 2) & (time_variance > HOP_S**2 / 8)
    slope = np.where(enough, cross / np.where(enough, time_variance, 1.0), 0.0)
    return slope, np.where(enough, np.sqrt(variance), 0.0)


def _window_sum(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over offset o of values[t + o] · kernel[o], outside counted as 0."""
    half = len(kernel) // 2
    padded = np.pad(values, ((half, half), (0, 0)))
    return np.einsum("tdo,o->td", np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0), kernel)


def _reference_power() -> float:
    """Summed power of a frame of white noise at the target RMS: N/2 bins of RMS² · Σ window²."""
    return TARGET_RMS**2 * (3.0 / 8.0 * WINDOW_SAMPLES) * (WINDOW_SAMPLES / 2.0)


def _zero_crossings(wave: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """Share of samples after which the sign changes, around each frame's centre."""
    half = WINDOW_SAMPLES // 2
    crossings = np.concatenate([[0.0], np.cumsum(np.signbit(wave[1:]) != np.signbit(wave[:-1]))])
    centres = np.arange(frames) * HOP_SAMPLES
    first = np.clip(centres - half, 0, crossings.size - 1)
    last = np.clip(centres + half, 0, crossings.size - 1)
    return np.asarray((crossings[last] - crossings[first]) / np.maximum(last - first, 1))
