"""The time base of all components, and the regular grid of steps on it.

Times are seconds as float64 from a clip's first presentation timestamp; intervals are half-open. A clip of duration `d`
on a grid of `rate_hz` has ``ceil(d * rate_hz)`` steps; step k covers ``[k / rate_hz, (k + 1) / rate_hz)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Durations come from rational timestamps; without slack 1.0000000001 s at 10 Hz would make an eleventh step.
STEP_SLACK = 1e-6


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A regular grid of `num_steps` steps at `rate_hz`."""

    rate_hz: float
    num_steps: int

    @classmethod
    def covering(cls, duration_s: float, rate_hz: float) -> Grid:
        """The grid that covers `[0, duration_s)`; at least one step for any positive duration."""
        return cls(rate_hz=rate_hz, num_steps=max(1, math.ceil(duration_s * rate_hz - STEP_SLACK)))

    @property
    def starts_s(self) -> NDArray[np.float64]:
        """Start of each step, seconds, shape (T,)."""
        return np.arange(self.num_steps, dtype=np.float64) / self.rate_hz

    @property
    def centres_s(self) -> NDArray[np.float64]:
        """Centre of each step, seconds, shape (T,)."""
        return (np.arange(self.num_steps, dtype=np.float64) + 0.5) / self.rate_hz

    def overlap(self, start_s: float, end_s: float) -> slice:
        """The steps that overlap `[start_s, end_s)`, clipped to the grid; may be empty."""
        first = min(max(0, math.floor(start_s * self.rate_hz + STEP_SLACK)), self.num_steps)
        last = min(max(first, math.ceil(end_s * self.rate_hz - STEP_SLACK)), self.num_steps)
        return slice(first, last)


def pool_mean(
    values: NDArray[np.floating], starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Pools a high-rate stream into the steps it overlaps, weighted by the seconds of overlap.

    Args:
        values: (N, D), one row per interval of the stream.
        starts_s, ends_s: (N,), the half-open interval of each row.
        grid: the target grid of T steps.

    Returns:
        ((T, D) means, (T,) True where an interval overlapped the step).
    """
    sums = np.zeros((grid.num_steps, values.shape[1]), dtype=np.float64)
    weights = np.zeros(grid.num_steps, dtype=np.float64)
    first = np.clip(np.floor(starts_s * grid.rate_hz + STEP_SLACK).astype(np.int64), 0, grid.num_steps)
    last = np.clip(np.ceil(ends_s * grid.rate_hz - STEP_SLACK).astype(np.int64), 0, grid.num_steps)
    for offset in range(int((last - first).max(initial=0))):
        steps = first + offset
        rows = np.nonzero(steps < last)[0]
        steps = steps[rows]
        begin = np.maximum(starts_s[rows], steps / grid.rate_hz)
        end = np.minimum(ends_s[rows], (steps + 1) / grid.rate_hz)
        seconds = np.maximum(end - begin, 0.0)
        np.add.at(sums, steps, values[rows].astype(np.float64) * seconds[:, None])
        np.add.at(weights, steps, seconds)
    covered = weights > 0
    sums[covered] /= weights[covered, None]
    return sums.astype(np.float32), covered
