"""The baselines that smoothing must beat: thresholds with hysteresis and a shortest duration, and no smoothing at all.

As is customary in sound event detection, an event begins above a high threshold, goes on until it falls below a low
one, and is dropped if it is too short (Cances, Guyot and Pellegrini 2019, "Evaluation of post-processing algorithms
for polyphonic sound event detection"; Dinkel, Wu and Yu 2021, double thresholds). Here exactly one class holds at a
time, so an event gives way to the most probable class.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from components.inference.durations import STEP_SLACK

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """A class holds until its posterior falls below `leave` while the most probable one reaches `enter`; an
    episode shorter than `shortest_s` is merged into the one before it."""

    enter: float = 0.6
    leave: float = 0.3
    shortest_s: float = 0.2

    def path(self, posterior: Floats, valid: NDArray[np.bool_], rate_hz: float) -> NDArray[np.int64]:
        """Classes (T,) for posteriors (T, K) and steps with evidence (T,)."""
        path = np.zeros(len(posterior), dtype=np.int64)
        if not valid.any():
            return path
        most = posterior.argmax(1)
        now = int(most[valid.argmax()])
        enters = (valid & (posterior.max(1) >= self.enter)).nonzero()[0]
        low = posterior < self.leave
        begun = 0
        for step in enters:  # a class gives way only there
            if low[step, now]:
                path[begun:step] = now
                begun, now = step, int(most[step])
        path[begun:] = now
        edges = [0, *(np.nonzero(np.diff(path))[0] + 1).tolist(), path.size]
        for first, last in pairwise(edges):
            if first > 0 and (last - first) / rate_hz < self.shortest_s - STEP_SLACK:
                path[first:last] = path[first - 1]
        return path


class MostProbable:
    """The most probable class of each step."""

    def path(self, posterior: Floats, valid: NDArray[np.bool_], rate_hz: float) -> NDArray[np.int64]:
        """Classes (T,) for posteriors (T, K)."""
        return posterior.argmax(-1).astype(np.int64)
