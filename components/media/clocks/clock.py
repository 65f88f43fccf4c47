"""The clock of a clip: where its zero is, how long it lasts, and which real frame each step of the grid gets.

All times are seconds as float64. A container's own timestamps are moved so that the earliest decoded picture or sample
of a clip is at zero; nothing here multiplies a frame number by a rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.timebase import STEP_SLACK, Grid

# A frame stands for the scene until the next frame, but not for longer than this many of the stream's usual intervals,
# or HOLD_S if that is more: beyond it frames were dropped, and the scene is unknown.
HOLD_INTERVALS = 2.5
HOLD_S = 0.15
NO_FRAME = -1
SECONDS_PER_MINUTE = 60.0
# Containers round timestamps to as little as 1 ms (Matroska, FLV), so a smaller drift cannot be distinguished from
# rounding.
DRIFT_RESOLUTION_S = 0.003
MIN_DRIFT_SPAN_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How regular a picture stream is: mean rate, median interval, coefficient of variation of the intervals."""

    rate_hz: float
    median_s: float
    cv: float


def intervals(times_s: NDArray[np.float64]) -> Intervals | None:
    """Statistics of the frame times (N,), ascending; None for fewer than two frames."""
    if times_s.size < 2:
        return None
    steps = np.diff(times_s)
    mean = float(steps.mean())
    if mean <= 0:
        return None
    return Intervals(rate_hz=1.0 / mean, median_s=float(np.median(steps)), cv=float(steps.std() / mean))


def hold_s(median_interval_s: float) -> float:
    """How long a frame may stand for the scene after it, seconds."""
    return max(HOLD_S, HOLD_INTERVALS * median_interval_s)


def frames_of_steps(times_s: NDArray[np.float64], end_s: float, grid: Grid, duration_s: float) -> NDArray[np.int64]:
    """The frame of each step: the one whose interval covers the step's centre, else the nearest one.

    A frame's interval reaches to the next frame (the last one's to `end_s`), at most `hold_s`. Where no interval covers
    the centre, a frame within half the usual interval of it is taken.

    Args:
        times_s: (N,) frame times, ascending, on the clip's clock.
        end_s: end of the picture stream.
        grid: T steps.
        duration_s: of the clip; the last step may reach beyond it, then the centre of what lies inside counts.

    Returns:
        (T,) index into `times_s`, or NO_FRAME.
    """
    if not times_s.size:
        return np.full(grid.num_steps, NO_FRAME, dtype=np.int64)
    spread = intervals(times_s)
    median_s = spread.median_s if spread else end_s - float(times_s[0])
    centres = np.minimum(grid.centres_s, (grid.starts_s + duration_s) / 2)
    before = np.searchsorted(times_s, centres + STEP_SLACK, side="right") - 1
    since = np.where(before >= 0, centres - times_s[np.maximum(before, 0)], np.inf)
    until_end = np.where(before == times_s.size - 1, centres < end_s, True)
    covered = (before >= 0) & (since <= hold_s(median_s)) & until_end
    after = np.minimum(before + 1, times_s.size - 1)
    apart_before, apart_after = since, np.abs(times_s[after] - centres)
    nearest = np.where(apart_after <= apart_before, after, before)
    near = np.minimum(apart_before, apart_after) <= median_s / 2
    return np.where(covered, before, np.where(near, nearest, NO_FRAME)).astype(np.int64)


@dataclass
class DriftEstimate:
    """Least squares of timestamps against the sample count, with an intercept of its own for each gap-free run.

    With x = samples / nominal rate and y = timestamp, the pooled slope is sum_r S_xy / sum_r S_xx; a microphone that
    samples slower than its nominal rate has a slope above one. Keeps sums only.
    """

    s_xx: float = 0.0
    s_xy: float = 0.0
    span_s: float = 0.0

    def add(self, counted_s: NDArray[np.float64], stamped_s: NDArray[np.float64]) -> None:
        """Adds one run: seconds by sample count and by timestamp, both (n,)."""
        if counted_s.size < 2:
            return
        x = counted_s - counted_s.mean()
        self.s_xx += float(x @ x)
        self.s_xy += float(x @ (stamped_s - stamped_s.mean()))
        self.span_s += float(counted_s[-1] - counted_s[0])

    @property
    def slope(self) -> float:
        """Timestamp seconds per counted second; exactly 1 where the difference may be rounding."""
        if self.span_s < MIN_DRIFT_SPAN_S or self.s_xx <= 0:
            return 1.0
        slope = self.s_xy / self.s_xx
        return slope if abs(slope - 1.0) * self.span_s > DRIFT_RESOLUTION_S else 1.0

    @property
    def drift_s_per_min(self) -> float:
        """How much the sample clock runs ahead (+) of the container's clock, seconds per minute of the latter."""
        slope = self.slope
        return SECONDS_PER_MINUTE * (1.0 / slope - 1.0) if math.isfinite(slope) and slope > 0 else 0.0
