"""Which measures of a profile of answers have moved, with false alarms at a stated rate.

Each measure is a table of counts. Two tables are compared by the χ² test of homogeneity (Pearson 1900; Agresti,
Categorical Data Analysis, 3rd ed., section 3.2), and all measures of a look together by Holm's procedure (1979): where
nothing has moved, the chance that any measure of a look is named is at most `false_alarms`. Looks at answers that no
earlier look has counted are independent of one another but for the reference, so that with 0.01 one look of a hundred
raises an alarm for nothing.

Clips of one person are alike, and a χ² test takes them for independent. The counts of a reference whose people are
known therefore count as those of its people, one each, which is the most that its clips can depend on each other (the
design effect of Rao and Scott, 1984). Whether the requests of a service depend on each other nobody knows; where one
client sends the same clip a hundred times, an alarm is right. A measure that moved, but by less than `least` (the
Jensen-Shannon distance), is not named: with enough answers any difference is significant, and few matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.inference.profile import (
    BEYOND,
    CONFIDENCE,
    CONTRADICTION,
    CORRECT,
    DISTANCE,
    EMOTION,
    LABEL,
    PRESENCE,
    Profile,
    Table,
)
from components.validation.drift import jensen_shannon

# The approximation of χ² holds from this many expected answers per bin (Cochran 1954); rarer bins are put together.
LEAST_EXPECTED = 5.0
# Fewer answers than this say too little about a measure.
LEAST_ANSWERS = 30
WORDS: Mapping[str, str] = {
    EMOTION: "which emotions are answered",
    CONFIDENCE: "how confident answers are",
    CONTRADICTION: "how much modalities contradict each other",
    CORRECT: "how often answers are right",
    LABEL: "which labels arrive",
    PRESENCE: "how often clips have {modality}",
    DISTANCE: "how far the features of {modality} are from the training data",
}


@dataclass(frozen=True, kw_only=True)
class MeasureDrift:
    """One measure: answers before and now, the p-value after Holm, the distance of both tables, whether it moved, and
    the bin that changed most, in words."""

    measure: str
    what: str
    before: int
    now: int
    p: float
    distance: float
    moved: bool
    seen: str


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The outcome of one look. `notes` say which measures could not be compared, and why."""

    measures: tuple[MeasureDrift, ...]
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[MeasureDrift, ...]:
        """Those that moved, the surest first."""
        return tuple(sorted((own for own in self.measures if own.moved), key=lambda own: (own.p, own.measure)))

    @property
    def reason(self) -> str:
        """What moved, as the trigger record of a training; empty where nothing did."""
        return "; ".join(f"{own.what}: {own.seen} (p {own.p:.2g})" for own in self.moved)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {"measures": [asdict(own) for own in self.measures], "notes": list(self.notes), "reason": self.reason}


def compare(now: Profile, before: Profile, *, false_alarms: float, least: float) -> Drift:
    """Compares all measures that both profiles have.

    Args:
        now, before: answers of late, and the reference.
        false_alarms: the largest chance that a look names any measure where none has moved.
        least: the Jensen-Shannon distance (base 2, 0 to 1) from which a difference matters.
    """
    notes, found = [], {}
    for measure in sorted({*now.tables, *before.tables}):
        table, reference = now.tables.get(measure, {}), _by_people(before, measure)
        sizes = sum(table.values()), int(sum(reference.values()) + 0.5)
        if min(sizes) < LEAST_ANSWERS:
            notes.append(
                f"{describe(measure)}: {sizes[0]} answers, {sizes[1]} before; {LEAST_ANSWERS} of each are needed"
            )
        else:
            found[measure] = homogeneity(table, reference)
    adjusted = holm(found)
    measures = []
    for measure, p in adjusted.items():
        table, earlier = now.tables[measure], before.tables[measure]
        distance = jensen_shannon(table, earlier)
        measures.append(
            MeasureDrift(
                measure=measure,
                what=describe(measure),
                before=sum(earlier.values()),
                now=sum(table.values()),
                p=p,
                distance=round(distance, 4),
                moved=p <= false_alarms and distance >= least,
                seen=_most_changed(table, earlier),
            )
        )
    return Drift(measures=tuple(measures), notes=tuple(notes))


def describe(measure: str) -> str:
    """A measure in words."""
    name, _, modality = measure.partition(".")
    return WORDS[name].format(modality=modality) if name in WORDS else measure


def homogeneity(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The p-value of two tables of counts coming from the same distribution; 1 where there is but one bin."""
    from scipy.special import chdtrc

    places = sorted({*one, *other}, key=_order)
    counts_2K = np.array([[table.get(place, 0) for place in places] for table in (one, other)], dtype=np.float64)
    counts_2K = _merged(counts_2K)
    if counts_2K.shape[1] < 2:
        return 1.0
    expected_2K = np.outer(counts_2K.sum(1), counts_2K.sum(0)) / counts_2K.sum()
    statistic = float((np.square(counts_2K - expected_2K) / expected_2K).sum())
    return float(chdtrc(counts_2K.shape[1] - 1, statistic))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values (Holm 1979): naming those at most α names any for nothing with a chance of at most α."""
    adjusted, highest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = highest
    return adjusted


def _by_people(profile: Profile, measure: str) -> dict[str, float]:
    """The counts of a measure as if each person had one clip."""
    table = profile.tables.get(measure, {})
    total = sum(table.values())
    scale = 1.0 if profile.people is None or not total else min(1.0, profile.people / total)
    return {place: scale * count for place, count in table.items()}


def _merged(counts_2K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Neighbouring bins put together until each has enough expected answers on both sides."""
    smaller = counts_2K.sum(1).min() / counts_2K.sum()
    merged: list[NDArray[np.float64]] = []
    for column in counts_2K.T:
        if merged and merged[-1].sum() * smaller < LEAST_EXPECTED:
            merged[-1] = merged[-1] + column
        else:
            merged.append(column)
    if len(merged) > 1 and merged[-1].sum() * smaller < LEAST_EXPECTED:
        last = merged.pop()
        merged[-1] = merged[-1] + last
    return np.stack(merged, axis=1)


def _most_changed(now: Table, before: Table) -> str:
    shares = {
        place: tuple(table.get(place, 0) / max(1, sum(table.values())) for table in (before, now))
        for place in {*now, *before}
    }
    place = max(sorted(shares), key=lambda place: abs(shares[place][1] - shares[place][0]))
    earlier, later = shares[place]
    number = place.replace(".", "", 1).isdecimal() or place == BEYOND
    return f"{f'up to {place}' if number else place} {earlier:.0%} → {later:.0%}"


def _order(place: str) -> tuple[float, str]:
    """Numbers by value, so that neighbouring bins are put together; names after them."""
    try:
        return float(place), place
    except ValueError:
        return math.inf, place
