"""Heart beats from an ECG or a pulse wave, and rate and variability in a window around each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEART_VERSION = 1
# Bands that hold the QRS complex and the pulse wave (Pan and Tompkins 1985; Elgendi et al. 2013).
BANDS_HZ = {"ecg": (5.0, 25.0), "ppg": (0.5, 8.0)}
SHORTEST_INTERVAL_S = 0.33
LONGEST_INTERVAL_S = 2.0
WINDOW_S = 10.0
# An interval that differs from the median around it by more than this share is an ectopic or a missed beat.
ECTOPIC_SHARE = 0.25
NAMES = ("heart_rate_bpm", "rmssd_s", "sdnn_s", "rate_slope_bpm_per_s", "heart_present")


def beats(signal: NDArray[np.floating], rate_hz: float, kind: str) -> NDArray[np.float64]:
    """Times of beats, seconds from sample 0, ascending.

    The signal is band-passed; for an ECG its squared slope is smoothed over 0.12 s (Pan and Tompkins 1985), for a pulse
    the wave itself is taken; peaks at least 0.33 s apart and 0.4 of the usual height are beats, refined by a parabola.
    """
    if signal.size < 2 * rate_hz:
        return np.zeros(0)
    from scipy.signal import butter, find_peaks, sosfiltfilt  # a second of imports

    low_hz, high_hz = BANDS_HZ[kind]
    sos = butter(2, [low_hz, min(high_hz, 0.45 * rate_hz)], btype="band", fs=rate_hz, output="sos")
    wave = sosfiltfilt(sos, np.asarray(signal, dtype=np.float64))
    if kind == "ecg":
        slope = np.gradient(wave) ** 2
        width = max(1, round(0.12 * rate_hz))
        wave = np.convolve(slope, np.ones(width) / width, mode="same")
    distance = max(1, round(SHORTEST_INTERVAL_S * rate_hz))
    candidates, _ = find_peaks(wave, distance=distance)
    if candidates.size < 2:
        return np.zeros(0)
    usual = float(np.percentile(wave[candidates], 75))
    if usual <= 0 or usual <= 1e-12 * float(np.abs(signal).max(initial=0.0)) ** 2:
        return np.zeros(0)
    peaks = candidates[wave[candidates] > 0.4 * usual]
    left, centre, right = wave[peaks - 1], wave[peaks], wave[peaks + 1]
    bend = left - 2 * centre + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return (peaks + np.clip(shift, -0.5, 0.5)) / rate_hz


def heart_features(beat_s: NDArray[np.float64], centres_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rate and variability (T, NAMES) of the beats within 5 s of each step; zeros where fewer than three are.

    RMSSD and SDNN as in the Task Force of the ESC and NASPE (1996), over plausible intervals only.
    """
    features = np.zeros((len(centres_s), len(NAMES)))
    if beat_s.size < 3:
        return features
    interval_s = np.diff(beat_s)
    plausible = (interval_s >= SHORTEST_INTERVAL_S) & (interval_s <= LONGEST_INTERVAL_S)
    if not plausible.any():
        return features
    middle_s = beat_s[:-1] + interval_s / 2
    near = np.lib.stride_tricks.sliding_window_view(
        np.pad(interval_s, 2, mode="reflect" if interval_s.size > 2 else "edge"), 5
    )
    plausible &= np.abs(interval_s - np.median(near, axis=1)) <= ECTOPIC_SHARE * np.median(near, axis=1)
    for step, centre_s in enumerate(centres_s):
        inside = plausible & (np.abs(middle_s - centre_s) <= WINDOW_S / 2)
        intervals = interval_s[inside]
        if intervals.size < 2:
            continue
        rate = 60.0 / intervals
        time = middle_s[inside] - middle_s[inside].mean()
        slope = float(time @ (rate - rate.mean()) / (time @ time))
        successive = np.diff(intervals)[np.diff(np.nonzero(inside)[0]) == 1]
        rmssd = float(np.sqrt(np.mean(successive**2))) if successive.size else 0.0
        features[step] = (60.0 / intervals.mean(), rmssd, intervals.std(), slope, 1.0)
    return features
