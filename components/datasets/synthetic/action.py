"""Which facial muscles move when: action-unit intensities over time, from a clip's plan.

Action units (AU) are those of FACS (Ekman & Friesen 1978; Ekman, Friesen & Hager 2002); the prototypes of the signs
follow the EMFACS tables, cut down so that each sign is shared by two emotions. Intensity is 0 … 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from components.contracts.records import Word
from components.datasets.synthetic.plan import FACE, ClipPlan, DisplayPart
from components.datasets.synthetic.signs import SIGNS
from components.datasets.synthetic.text import syllables

# 1 inner brow raiser, 2 outer brow raiser, 4 brow lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener, 9 nose
# wrinkler, 10 upper lip raiser, 12 lip corner puller, 15 lip corner depressor, 17 chin raiser, 20 lip stretcher,
# 23 lip tightener, 25 lips part, 26 jaw drop, 43 eyes closed.
UNITS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 25, 26, 43)
COLUMN = {unit: column for column, unit in enumerate(UNITS)}

SMILE = {6: 0.9, 12: 1.0, 25: 0.5, 10: 0.1}
BROWS = {1: 0.9, 2: 0.9, 5: 0.5, 23: 0.4}
PROTOTYPES: dict[str, dict[int, float]] = {
    "still": {1: 0.3, 15: 0.45, 17: 0.25, 43: 0.22},
    "scowl": {4: 1.0, 7: 0.6, 9: 0.7, 10: 0.5, 17: 0.4, 23: 0.5, 15: 0.3},
    "wide": {1: 1.0, 2: 0.9, 5: 1.0, 20: 0.35, 25: 0.8, 26: 0.75},
}

# One cycle of a mirrored face: share of the cycle that each display takes; the rest is rest. The rest is what tells
# the cycle from its mirror image.
CYCLE_S = 1.7
FIRST_SHARE = 0.38
SECOND_SHARE = 0.38
FADE_S = 0.14
BRIEF_FADE_S = 0.04
TRACK_RATE_HZ = 100.0
BLINK_EVERY_S = 3.0
BLINK_S = 0.16


def action_units(plan: ClipPlan, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensity of each of `UNITS` at the given times, shape (N, 16), 0 … 1."""
    rng = plan.rng(FACE)
    track_s = np.arange(int(plan.duration_s * TRACK_RATE_HZ) + 1) / TRACK_RATE_HZ
    units = np.zeros((track_s.size, len(UNITS)))
    for part in plan.shown:
        units += _display(part, track_s, rng, start=part is plan.shown[0])
    wander = gaussian_filter1d(rng.standard_normal(track_s.size), 0.4 * TRACK_RATE_HZ)
    units *= plan.intensity * (1.0 + 0.1 * wander / (np.abs(wander).max() + 1e-9))[:, None]
    units[:, COLUMN[43]] = np.maximum(units[:, COLUMN[43]], _blinks(track_s, rng))
    lips, jaw = _speech(plan.words, track_s, rng)
    units[:, COLUMN[25]] = np.maximum(units[:, COLUMN[25]], lips)
    units[:, COLUMN[26]] = np.maximum(units[:, COLUMN[26]], jaw)
    sampled = [np.interp(times_s, track_s, column) for column in units.T]
    return np.clip(np.stack(sampled, axis=1), 0.0, 1.0)


def vector(pattern: dict[int, float]) -> NDArray[np.float64]:
    """A prototype as a row over `UNITS`."""
    row = np.zeros(len(UNITS))
    for unit, intensity in pattern.items():
        row[COLUMN[unit]] = intensity
    return row


def cycle(sign: str, phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """The displays of a mirrored face over the phase of its cycle (0 … 1), shape (N, 16), before fading."""
    backwards = sign == "smile_then_brows"
    # Backwards is the mirror image of forwards, so both hold the same displays for the same time.
    forward = 1.0 - phase if backwards else phase
    brows = (forward >= 0.0) & (forward < FIRST_SHARE)
    smile = (forward >= FIRST_SHARE) & (forward < FIRST_SHARE + SECOND_SHARE)
    return np.outer(brows, vector(BROWS)) + np.outer(smile, vector(SMILE))


def _display(
    part: DisplayPart, track_s: NDArray[np.float64], rng: np.random.Generator, *, start: bool
) -> NDArray[np.float64]:
    sign = SIGNS[part.emotion].face
    inside = (track_s >= part.start_s) & (track_s < part.end_s)
    if sign in PROTOTYPES:
        track = np.outer(inside, vector(PROTOTYPES[sign]))
    else:
        length_s = CYCLE_S * float(rng.uniform(0.9, 1.1))
        phase = ((track_s - part.start_s) / length_s + float(rng.uniform())) % 1.0
        track = cycle(sign, phase) * inside[:, None]
    fade_s = BRIEF_FADE_S if part.brief else FADE_S
    return gaussian_filter1d(track, fade_s * TRACK_RATE_HZ, axis=0, mode="nearest")


def _blinks(track_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    lids = np.zeros(track_s.size)
    at_s = float(rng.uniform(0.5, BLINK_EVERY_S))
    while at_s < track_s[-1]:
        lids = np.maximum(lids, np.clip(1.3 - np.abs(track_s - at_s) / (BLINK_S / 2), 0.0, 1.0))
        at_s += float(rng.uniform(0.6, 1.6)) * BLINK_EVERY_S
    return lids


def _speech(
    words: tuple[Word, ...], track_s: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lips and jaw open once per syllable: half a sine each."""
    opening = np.zeros(track_s.size)
    for word in words:
        count = syllables(word.text)
        inside = (track_s >= word.start_s) & (track_s < word.end_s)
        phase = (track_s[inside] - word.start_s) / (word.end_s - word.start_s) * count
        opening[inside] = np.abs(np.sin(np.pi * phase)) * float(rng.uniform(0.6, 1.0))
    opening = gaussian_filter1d(opening, 0.02 * TRACK_RATE_HZ)
    return 0.4 * opening, 0.25 * opening
