"""Whose face is it that speaks: the one whose mouth moves while there is sound.

The movement of each mouth is correlated with the envelope of the sound, slowly (syllables and pauses, not phases), at
lags within 0.1 s, since a clip may be that much out of sync. One face must stand out from all others; where none does,
or there is no speech, the caller's own rule decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.envelope import RATE_HZ, Envelope
from components.alignment.faces.lips import Lips

MAX_LAG_S = 0.1
SMOOTH_S = 0.1
MIN_SEEN_S = 1.5  # of a mouth beside the sound
MIN_CORRELATION = 0.3
MIN_LEAD = 0.15  # over the next face


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """`index` of the face that speaks, None where none stands out; `correlations` of each face's mouth with the sound,
    NaN where it was visible too briefly."""

    index: int | None
    correlations: tuple[float, ...]


def find_speaker(faces: Sequence[Lips], sound: Envelope) -> Speaker:
    """The face whose mouth goes with the sound."""
    scores = np.array([together(face, sound) for face in faces])
    correlations = tuple(round(float(score), 2) for score in scores)
    ranked = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")
    best = int(ranked[0])
    rival = float(np.nan_to_num(scores[ranked[1]], nan=0.0)) if len(faces) > 1 else 0.0
    stands_out = scores[best] >= MIN_CORRELATION and scores[best] - rival >= MIN_LEAD  # False for NaN
    return Speaker(index=best if stands_out else None, correlations=correlations)


def together(face: Lips, sound: Envelope) -> float:
    """The highest correlation of a mouth's movement with the sound within MAX_LAG_S; NaN when visible too briefly."""
    from scipy.ndimage import gaussian_filter1d  # imports that clips with one face spare

    count = sound.level_db.size
    values, seen = face.sampled(count)
    moves = gaussian_filter1d(values[:, 0], SMOOTH_S * RATE_HZ)
    level = gaussian_filter1d(sound.level_db, SMOOTH_S * RATE_HZ)
    reach = round(MAX_LAG_S * RATE_HZ)
    by_lag = []
    for lag in range(-reach, reach + 1):
        first, last = max(0, -lag), min(count, count - lag)
        if first >= last:
            continue
        kept = seen[first:last]
        if kept.sum() >= MIN_SEEN_S * RATE_HZ:
            by_lag.append(_correlation(moves[first:last][kept], level[first + lag : last + lag][kept]))
    return max(by_lag, default=float("nan"))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
