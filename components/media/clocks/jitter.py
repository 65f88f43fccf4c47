"""Sound whose timestamps jitter: the sample count is the clock, the timestamps correct it slowly.

Stamps that were taken when a packet arrived (WebRTC, MediaRecorder) are off by tens of milliseconds although the sound
is gapless. Their errors against the sample count scatter around a level. A step of the level that lasts is a gap; a
slope of it is a microphone off its nominal rate. Both are taken where the scatter cannot explain them, and not before.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JUMP_S = 0.015  # no rounding of stamps by a container, or jitter that matters, reaches it; a lost packet does (20 ms)
LASTING_S = 1.0  # stamps that are back on the old clock within it did not jump
# Packets on either side whose mean levels are compared: few find a large step where it is, many a small one at all.
WIDTHS = (8, 32, 128, 512)
SURE = 5.0  # standard errors: one false step in a million comparisons
SURE_SLOPE = 4.0  # standard errors of the one slope
ROUNDING_S = 0.001  # of Matroska and FLV: the least scatter assumed
MAX_STEPS = 500
WILD_S = 0.1  # a stamp further than this from the median of the five around it says nothing
MAX_JITTER_S = 0.1  # in the median; network jitter of ±60 ms has 0.03
MAX_SLOPE = 0.05  # no clock is that far off its nominal rate
MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Gapless frames `[first, last)`: a sample counted at x seconds was heard at `start_s + slope * (x - from_s)`."""

    first: int
    last: int
    from_s: float
    start_s: float
    slope: float


def pieces(counted_s: NDArray[np.float64], stamped_s: NDArray[np.float64]) -> list[Piece] | None:
    """Lays frames by their sample count.

    Args:
        counted_s, stamped_s: (N,) start of each frame by sample count and by timestamp, N at least 1.

    Returns:
        The gapless pieces, in order; None where the stamps have nothing to do with the sample count.
    """
    errors = _without_wild(stamped_s - counted_s)
    noise_s = _noise(errors)
    flat = errors - _trend(counted_s, errors, noise_s) * counted_s
    cuts = _lasting(flat, counted_s, _steps(flat, noise_s, WIDTHS)[0], noise_s)
    spans = [slice(first, last) for first, last in itertools.pairwise([0, *cuts, errors.size])]
    slope = _slope(counted_s, errors, spans)
    levels = [_level(errors[span] - slope * counted_s[span]) for span in spans]
    off = np.concatenate(
        [errors[span] - slope * counted_s[span] - level for span, level in zip(spans, levels, strict=True)]
    )
    if float(np.median(np.abs(off))) > MAX_JITTER_S or abs(slope) > MAX_SLOPE:
        return None
    return [
        Piece(
            first=span.start,
            last=span.stop,
            from_s=float(counted_s[span.start]),
            start_s=float(counted_s[span.start] * (1.0 + slope)) + level,
            slope=1.0 + slope,
        )
        for span, level in zip(spans, levels, strict=True)
    ]


def _without_wild(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors (N,) with single wild ones replaced by the median of the five around them."""
    if errors.size < 3:
        return errors
    around = np.lib.stride_tricks.sliding_window_view(np.pad(errors, 2, mode="reflect"), 5)
    usual = np.median(around, axis=1)
    return np.where(np.abs(errors - usual) > WILD_S, usual, errors)


def _noise(errors: NDArray[np.float64]) -> float:
    """Standard deviation of single errors, from the differences of neighbours: steps and slopes hardly change it."""
    differences = np.abs(np.diff(errors))
    return max(ROUNDING_S, MAD_TO_SIGMA * float(np.median(differences)) / np.sqrt(2) if differences.size else 0.0)


def _trend(counted_s: NDArray[np.float64], errors: NDArray[np.float64], noise_s: float) -> float:
    """A slope without the large steps, so that a drift is not taken for many small ones."""
    lag = min(errors.size // 4, WIDTHS[-1])
    if lag < WIDTHS[1]:
        return 0.0
    _, level = _steps(errors, noise_s, WIDTHS[:2])
    rest = errors - level
    return float(np.median((rest[lag:] - rest[:-lag]) / np.maximum(counted_s[lag:] - counted_s[:-lag], 1e-9)))


def _steps(
    errors: NDArray[np.float64], noise_s: float, widths: tuple[int, ...]
) -> tuple[list[int], NDArray[np.float64]]:
    """Where the level of the errors changes, and that level (N,), by moving sums.

    Source: MOSUM, Eichinger and Kirch, A MOSUM procedure for the estimation of multiple random change points,
    Bernoulli 24 (2018), section 2.
    """
    level = np.zeros_like(errors)
    steps: set[int] = set()
    for width in (width for width in widths if 2 * width <= errors.size):
        least_s = max(JUMP_S, SURE * noise_s * np.sqrt(2.0 / width))
        while len(steps) < MAX_STEPS:
            sums = np.concatenate([[0.0], np.cumsum(errors - level)])
            means = (sums[width:] - sums[:-width]) / width
            changes = means[width:] - means[:-width]
            at = int(np.argmax(np.abs(changes)))
            if abs(changes[at]) <= least_s or at + width in steps:
                break
            steps.add(at + width)
            level[at + width :] += changes[at]
    return sorted(steps), level


def _level(errors: NDArray[np.float64]) -> float:
    """The mean without what a burst of late packets adds."""
    away = np.abs(errors - np.median(errors))
    return float(np.mean(errors[away <= max(WILD_S, float(np.median(away)))]))


def _lasting(
    errors: NDArray[np.float64], counted_s: NDArray[np.float64], steps: list[int], noise_s: float
) -> list[int]:
    """The steps after which the level stays away, by more than the scatter explains."""
    kept = [at for at, before in zip(steps, [-WIDTHS[0], *steps], strict=False) if at - before >= WIDTHS[0]]
    while kept:
        bounds = [0, *kept, errors.size]
        levels = [_level(errors[first:last]) for first, last in itertools.pairwise(bounds)]
        sizes = np.diff(bounds)

        def same(one: int, other: int, levels: list[float] = levels, sizes: NDArray[np.int64] = sizes) -> bool:
            explained_s = SURE * noise_s * np.sqrt(1.0 / sizes[one] + 1.0 / sizes[other])
            return abs(levels[one] - levels[other]) < max(JUMP_S, explained_s)

        lasts_s = np.diff(counted_s[kept])
        false = next((k for k in range(len(kept)) if same(k, k + 1)), None)
        short = next((k for k in range(len(kept) - 1) if lasts_s[k] < LASTING_S and same(k, k + 2)), None)
        if false is None and short is None:
            break
        if false is not None:
            del kept[false]
        elif short is not None:
            del kept[short : short + 2]
    return kept


def _slope(counted_s: NDArray[np.float64], errors: NDArray[np.float64], spans: list[slice]) -> float:
    """The common slope of the pieces by least squares, 0 where their scatter may explain it."""
    x = np.concatenate([counted_s[span] - counted_s[span].mean() for span in spans])
    y = np.concatenate([errors[span] - errors[span].mean() for span in spans])
    s_xx, free = float(x @ x), x.size - len(spans) - 1
    if s_xx <= 0 or free < WIDTHS[0]:
        return 0.0
    slope = float(x @ y) / s_xx
    scatter_s = max(ROUNDING_S, float(np.sqrt(np.sum((y - slope * x) ** 2) / free)))
    return slope if abs(slope) > SURE_SLOPE * scatter_s / np.sqrt(s_xx) else 0.0
