"""Heart, skin and breath of a synthetic person, following arousal as it changes within the clip. About 3 ms per clip.

Written here rather than taken from NeuroKit2's simulators, because those hold one heart rate for a whole signal (and
take 0.3 s for ten seconds of ECG): here an emotion that turns mid-clip speeds the heart mid-clip. NeuroKit2 reads the
result back in the tests.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from components.datasets.synthetic.plan import PHYSIO, SUBJECT, ClipPlan
from components.datasets.synthetic.signs import SIGNS

RATE_HZ = 128

# Angle of each wave on the cardiac cycle (radians, R at 0), height (mV) and width (radians): the table of McSharry,
# Clifford, Tarassenko & Smith (2003), "A dynamical model for generating synthetic electrocardiogram signals".
WAVES = {
    "P": (-np.pi / 3, 0.12, 0.25),
    "Q": (-np.pi / 12, -0.12, 0.1),
    "R": (0.0, 1.0, 0.1),
    "S": (np.pi / 12, -0.25, 0.1),
    "T": (np.pi / 2, 0.25, 0.4),
}

# What arousal does: beats a minute over rest, skin-conductance responses a second, breaths a minute.
AROUSED_BEATS = 26.0
RESPONSES_PER_S = {"low": 0.05, "high": 0.7}
BREATHS = {"low": 13.0, "high": 21.0}
LAG_S = 0.6


def physiology(plan: ClipPlan) -> pa.Table:
    """Columns time_s (float64 seconds), ecg (mV), eda (µS), resp (arbitrary, inhaling up), one row per sample."""
    rng = plan.rng(PHYSIO)
    person = plan.subject_rng(SUBJECT + 70)
    count = round(plan.duration_s * RATE_HZ)
    time_s = np.arange(count) / RATE_HZ
    arousal = _arousal(plan, time_s)
    breath = _breathing(arousal, rng)
    rest = float(person.uniform(58, 74))
    beats_per_min = rest + AROUSED_BEATS * arousal + 2.5 * breath + float(rng.normal(0, 2.5))
    return pa.table(
        {
            "time_s": time_s,
            "ecg": _heart(beats_per_min, rng).astype(np.float32),
            "eda": _skin(time_s, arousal, float(person.uniform(1.5, 6.0)), rng).astype(np.float32),
            "resp": (breath + 0.03 * rng.standard_normal(count)).astype(np.float32),
        }
    )


def _arousal(plan: ClipPlan, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 … 1, following the felt parts a moment later."""
    level = np.zeros(time_s.size)
    for part in plan.felt:
        start_s = part.start_s + (LAG_S if part.start_s > 0 else 0.0)
        level[time_s >= start_s] = 1.0 if SIGNS[part.emotion].physio == "high" else 0.0
    smooth: NDArray[np.float64] = gaussian_filter1d(level, 0.4 * RATE_HZ, mode="nearest")
    return smooth * (0.6 + 0.4 * plan.intensity)


def _breathing(arousal: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    rate_hz = (BREATHS["low"] + (BREATHS["high"] - BREATHS["low"]) * arousal) / 60.0 * float(rng.uniform(0.9, 1.1))
    phase = 2 * np.pi * (np.cumsum(rate_hz) / RATE_HZ + float(rng.uniform()))
    wave: NDArray[np.float64] = np.sin(phase) + 0.2 * np.sin(2 * phase)
    return wave * (0.8 + 0.3 * arousal)


def _heart(beats_per_min: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    phase = 2 * np.pi * (np.cumsum(beats_per_min / 60.0) / RATE_HZ + float(rng.uniform()))
    angle = (phase + np.pi) % (2 * np.pi) - np.pi
    ecg = np.zeros(phase.size)
    for centre, height, width in WAVES.values():
        ecg += height * np.exp(-0.5 * ((angle - centre) / width) ** 2)
    wander = 0.05 * np.sin(2 * np.pi * 0.25 * np.arange(phase.size) / RATE_HZ + float(rng.uniform(0, 6)))
    noise: NDArray[np.float64] = ecg + wander + 0.015 * rng.standard_normal(phase.size)
    return noise


def _skin(
    time_s: NDArray[np.float64], arousal: NDArray[np.float64], tonic: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Tonic level plus responses of Bateman's shape (rise 0.7 s, decay 2 s; Alexander et al. 2005)."""
    rate = RESPONSES_PER_S["low"] + (RESPONSES_PER_S["high"] - RESPONSES_PER_S["low"]) * arousal
    driver = (rng.random(time_s.size) < rate / RATE_HZ) * rng.uniform(0.15, 0.6, time_s.size)
    kernel_s = np.arange(8 * RATE_HZ) / RATE_HZ
    kernel = np.exp(-kernel_s / 2.0) - np.exp(-kernel_s / 0.7)
    responses = np.convolve(driver, kernel / kernel.max())[: time_s.size]
    slope = (0.06 * arousal.mean() - 0.02) * time_s
    level: NDArray[np.float64] = tonic + slope + responses + 0.003 * rng.standard_normal(time_s.size)
    return level
