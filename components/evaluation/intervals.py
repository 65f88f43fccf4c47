"""Intervals by resampling *people*, not clips: clips of one person are not independent (Field and Welsh 2007).

A cluster bootstrap draws as many subjects with replacement as there are, takes all items of each drawn subject, and
scores again. Everything that is a function of sums over items (confusion matrices, confidence bins) is resampled as
sums per subject, so a thousand draws cost one matrix product. Percentile intervals (Efron and Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# One subject gives no information about the spread between subjects.
MIN_SUBJECTS = 2


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and its interval; `low` and `high` are None when fewer than two subjects leave it unknown."""

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """As a JSON value, rounded, so that rounding noise does not show up in a diff."""
        return {"value": rounded(self.value), "low": rounded(self.low), "high": rounded(self.high)}

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def sided(self, positive: str, negative: str) -> str:
        """In words without a sign: `0.050 [-0.010, 0.110] below`, and for a negative value `0.050 [...] above`."""
        if self.value is None or self.value >= 0:
            return f"{self} {positive}"
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return f"{Interval(value=-self.value, low=low, high=high)} {negative}"


@dataclass(frozen=True)
class Subjects:
    """Which item belongs to which subject: `names` (S,), `index` (N,) into them."""

    names: tuple[str, ...]
    index: NDArray[np.int64]

    @classmethod
    def of(cls, subjects: Sequence[str]) -> Subjects:
        """From one subject id per item."""
        names, index = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
        return cls(tuple(str(name) for name in names), index.astype(np.int64).reshape(-1))

    def sums(self, per_item: NDArray[np.floating] | NDArray[np.integer]) -> Floats:
        """Per-item values (N, ...) summed by subject, (S, ...)."""
        totals = np.zeros((len(self.names), *per_item.shape[1:]))
        np.add.at(totals, self.index, per_item)
        return totals


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How to resample: number of draws, confidence of the interval, seed."""

    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def weights(self, subjects: int) -> Floats:
        """(R, S): how often each subject is drawn, R draws of S subjects with replacement."""
        rng = np.random.default_rng(self.seed)
        return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=self.draws).astype(np.float64)

    def of_sums(self, sums: Floats, statistic: Callable[[Floats], Floats]) -> Interval:
        """A statistic of sums over items.

        Args:
            sums: (S, ...) sums by subject; see `Subjects.sums`.
            statistic: (..., *rest) sums → (...,) figures.
        """
        value = float(statistic(sums.sum(0)))
        if len(sums) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        drawn = np.tensordot(self.weights(len(sums)), sums, axes=1)
        return self._interval(value, np.asarray(statistic(drawn), dtype=np.float64))

    def of_items(self, subjects: Subjects, statistic: Callable[[NDArray[np.int64]], float]) -> Interval:
        """A statistic of the items themselves, e.g. a rank statistic: a function of item indices (with repeats)."""
        everything = np.arange(subjects.index.size)
        value = float(statistic(everything))
        if len(subjects.names) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        members = [np.nonzero(subjects.index == subject)[0] for subject in range(len(subjects.names))]
        draws = np.empty(self.draws)
        for row, weights in enumerate(self.weights(len(members)).astype(np.int64)):
            draws[row] = statistic(np.concatenate([np.tile(members[i], count) for i, count in enumerate(weights)]))
        return self._interval(value, draws)

    def difference(self, first: Floats, second: Floats, statistic: Callable[[Floats], Floats]) -> Interval:
        """`statistic(first) − statistic(second)`, paired: both are scored on the same drawn subjects.

        Args:
            first, second: (S, ...) sums by subject, over the same subjects in the same order.
            statistic: as in `of_sums`.
        """
        value = float(statistic(first.sum(0)) - statistic(second.sum(0)))
        if len(first) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        weights = self.weights(len(first))
        drawn = statistic(np.tensordot(weights, first, axes=1)) - statistic(np.tensordot(weights, second, axes=1))
        return self._interval(value, np.asarray(drawn, dtype=np.float64))

    def apart(self, first: Floats, second: Floats, statistic: Callable[[Floats], Floats]) -> Interval:
        """`statistic(first) − statistic(second)` of different people: each is drawn by itself.

        Args:
            first, second: (S, ...) sums by subject.
            statistic: as in `of_sums`.
        """
        value = float(statistic(first.sum(0)) - statistic(second.sum(0)))
        if min(len(first), len(second)) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        other = replace(self, seed=self.seed + 1)
        drawn = statistic(np.tensordot(self.weights(len(first)), first, axes=1))
        drawn = drawn - statistic(np.tensordot(other.weights(len(second)), second, axes=1))
        return self._interval(value, np.asarray(drawn, dtype=np.float64))

    def _interval(self, value: float, draws: Floats) -> Interval:
        defined = draws[np.isfinite(draws)]
        if not np.isfinite(value):
            return Interval(value=None, low=None, high=None)
        if not defined.size:
            return Interval(value=value, low=None, high=None)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return Interval(value=value, low=float(low), high=float(high))


def ratio(sums: Floats, scale: float = 1.0) -> Floats:
    """(..., 2) sums → (...,): `scale` times the first over the second; NaN or infinite where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(scale * sums[..., 0] / sums[..., 1])


def rounded(value: float | None, digits: int = 6) -> float | None:
    """A figure for JSON: rounded, and None where it is undefined."""
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
