"""Intervals by resampling *people*, not clips: clips of one person are not independent (Field and Welsh 2007).

A cluster bootstrap draws as many subjects with replacement as there are, takes all items of each drawn subject, and
scores again. Everything that is a function of sums over items (confusion matrices, confidence bins) is resampled as
sums per subject, so a thousand draws cost one matrix product. Percentile intervals (Efron and Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.runtime.spilled import SpilledRows

Floats = NDArray[np.float64]

# One subject gives no information about the spread between subjects.
MIN_SUBJECTS = 2
# Draws times subjects whose weights are in memory at once, and items of a sum.
DRAWN_AT_ONCE = 1 << 23
ITEMS_AT_ONCE = 1 << 19


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
    """Which item belongs to which subject: `names` (S,) in order, `index` (N,) into them. It iterates over the names of
    the items."""

    names: tuple[str, ...]
    index: NDArray[np.integer]

    @classmethod
    def of(cls, subjects: Sequence[str] | Subjects) -> Subjects:
        """From one subject id per item."""
        if isinstance(subjects, Subjects):
            return subjects
        names, index = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
        return cls(tuple(str(name) for name in names), index.astype(np.int64).reshape(-1))

    def among(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> Subjects:
        """Those of some items: (N,) which ones, or their places."""
        index, number = SpilledRows(), np.full(len(self.names), -1, dtype=np.int32)
        for some in some_of(self.index, chosen):
            number[some] = 0
        occurring = np.flatnonzero(number == 0)
        number[occurring] = np.arange(occurring.size)
        for some in some_of(self.index, chosen):
            index.append(number[some])
        return Subjects(tuple(self.names[place] for place in occurring.tolist()), index.array())

    def sums(self, per_item: NDArray[np.floating] | NDArray[np.integer]) -> Floats:
        """Per-item values (N, ...) summed by subject, (S, ...)."""
        totals = np.zeros((len(self.names), *per_item.shape[1:]))
        np.add.at(totals, self.index, per_item)
        return totals

    def __iter__(self) -> Iterator[str]:
        return (self.names[place] for place in self.index)


class SubjectRows:
    """Gathers the subject of each item, some items of one at a time."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._index = SpilledRows()

    def append(self, subject: str, items: int = 1) -> None:
        """Adds items of a subject; none does not make it known."""
        if items:
            place = self._places.setdefault(subject, len(self._places))
            self._index.append(np.full(items, place, dtype=np.int32))

    def subjects(self) -> Subjects:
        """All of them. Nothing can be added afterwards."""
        names, index = sorted(self._places), self._index.array()
        order = np.empty(len(names), dtype=np.int32)
        order[[self._places[name] for name in names]] = np.arange(len(names))
        ordered = SpilledRows()
        for some in at_once(len(index)):
            ordered.append(order[index[some].astype(np.int64)])
        return Subjects(tuple(names), ordered.array())


def some_of(rows: NDArray[Any], chosen: NDArray[np.bool_] | NDArray[np.integer]) -> Iterator[NDArray[Any]]:
    """Some of N rows, in parts: (N,) which ones, or their places."""
    for some in at_once(len(chosen)):
        yield rows[some][chosen[some]] if chosen.dtype == np.bool_ else rows[chosen[some]]


def at_once(items: int) -> Iterator[slice]:
    """N items in stretches of `ITEMS_AT_ONCE`."""
    for first in range(0, items, ITEMS_AT_ONCE):
        yield slice(first, min(first + ITEMS_AT_ONCE, items))


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How to resample: number of draws, confidence of the interval, seed."""

    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def weights(self, subjects: int) -> Iterator[Floats]:
        """(r, S) some draws after others, R in all: how often each of S subjects is drawn, with replacement."""
        rng, share = np.random.default_rng(self.seed), np.full(subjects, 1 / subjects)
        some = max(1, DRAWN_AT_ONCE // subjects)
        for first in range(0, self.draws, some):
            yield rng.multinomial(subjects, share, size=min(some, self.draws - first)).astype(np.float64)

    def _drawn(self, sums: Floats) -> Floats:
        """(S, ...) sums by subject → (R, ...) those of each draw."""
        return np.concatenate([np.tensordot(weights, sums, axes=1) for weights in self.weights(len(sums))])

    def of_sums(self, sums: Floats, statistic: Callable[[Floats], Floats]) -> Interval:
        """A statistic of sums over items.

        Args:
            sums: (S, ...) sums by subject; see `Subjects.sums`.
            statistic: (..., *rest) sums → (...,) figures.
        """
        value = float(statistic(sums.sum(0)))
        if len(sums) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        return self._interval(value, np.asarray(statistic(self._drawn(sums)), dtype=np.float64))

    def of_items(self, subjects: Subjects, statistic: Callable[[NDArray[np.int64]], float]) -> Interval:
        """A statistic of the items themselves, e.g. a rank statistic: a function of item indices (with repeats)."""
        everything = np.arange(subjects.index.size)
        value = float(statistic(everything))
        if len(subjects.names) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        by_subject = np.argsort(subjects.index, kind="stable")
        members = np.split(by_subject, np.cumsum(np.bincount(subjects.index))[:-1])
        draws = [
            statistic(np.concatenate([np.tile(members[i], count) for i, count in enumerate(drawn)]))
            for weights in self.weights(len(members))
            for drawn in weights.astype(np.int64)
        ]
        return self._interval(value, np.array(draws, dtype=np.float64))

    def difference(self, first: Floats, second: Floats, statistic: Callable[[Floats], Floats]) -> Interval:
        """`statistic(first) − statistic(second)`, paired: both are scored on the same drawn subjects.

        Args:
            first, second: (S, ...) sums by subject, over the same subjects in the same order.
            statistic: as in `of_sums`.
        """
        value = float(statistic(first.sum(0)) - statistic(second.sum(0)))
        if len(first) < MIN_SUBJECTS:
            return self._interval(value, np.empty(0))
        drawn = statistic(self._drawn(first)) - statistic(self._drawn(second))
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
        drawn = statistic(self._drawn(first)) - statistic(other._drawn(second))
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
