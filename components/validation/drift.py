"""Measures how far a dataset has moved from its state when a person last accepted it.

Each measure is a distance between two summaries (`profile.py`), so the earlier data are not needed. A measure
counts as moved above its limit in the section `validation.drift`, or above the difference that chance
explains for samples of these sizes, whichever is more: without that a dozen clips would always have "moved".

| Measure | Distance | Chance |
|---|---|---|
| class balance | Jensen-Shannon distance, base 2, 0 to 1 (Lin 1991) | its square is χ² / (8 ln 2) · (1/n + 1/m) |
| people | lost share of the effective number of people (Hill 1973) | none: it is not an estimate |
| durations | Wasserstein-1 over the earlier median | twice ∫√(F(1 − F)) dx · (1/√n + 1/√m), which is ≥ E W₁ |
| coverage, speech | Wasserstein-1, in shares of a clip | the same |
| features | root mean square over the features of √((Δμ)² + (Δσ)²) / σ | twice √(1.5 (1/n + 1/m)) for n and m people |

χ² is the 99.9 % quantile with one degree of freedom less than classes (the second-order expansion of the divergence, as
in Grosse et al. 2002); the bound on W₁ is that of Bobkov and Ledoux (2019, theorem 3.2). The value that is squared and
averaged for features is the Fréchet distance of two normal distributions (Dowson and Landau 1982), in deviations; its
chance takes all clips of a person as one observation, and people by their effective number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contracts.config import Drift
from components.validation.profile import QUANTILES

ALPHA = 0.001
TIMES_CHANCE = 2.0
# Bounds the weight of a feature that hardly varied.
MAX_DEVIATIONS = 4.0
_MIDDLE = len(QUANTILES) // 2
_NOWHERE = (0.0,) * len(QUANTILES)
NONE_BEFORE = "no earlier version was accepted, so nothing was compared; `mer accept` makes this one the first"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One distance: `what` it measures, its `value`, the `limit` in force, the `configured` limit, and both states in
    words (`seen`)."""

    name: str
    what: str
    value: float
    limit: float
    configured: float
    seen: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """All measures, and notes on what could not be compared and why. `before` is None where no version was accepted."""

    before: Mapping[str, Any] | None
    measures: tuple[Measure, ...] = ()
    notes: tuple[str, ...] = ()

    def table(self, dataset: str) -> pa.Table:
        """One row with one column per measure, for the suite `drift`."""
        return pa.table({"dataset": [dataset], **{measure.name: [measure.value] for measure in self.measures}})


def compare(now: Mapping[str, Any], before: Mapping[str, Any] | None, limits: Drift) -> Compared:
    """Every measure between two profiles of a dataset."""
    if before is None:
        return Compared(before=None, notes=(NONE_BEFORE,))
    measures = [_classes(now, before, limits), _people(now, before, limits)]
    measures += _distributions(now, before, limits)
    notes: list[str] = []
    for modality in sorted({*now["features"], *before["features"]}):
        measure = _features(modality, now, before, limits)
        if isinstance(measure, str):
            notes.append(measure)
        else:
            measures.append(measure)
    return Compared(
        before=before, measures=tuple(measure for measure in measures if measure is not None), notes=tuple(notes)
    )


def jensen_shannon(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The Jensen-Shannon distance of two tables of counts, base 2: 0 for equal shares, 1 for nothing in common."""
    names = sorted({*one, *other})
    p, q = (np.array([counts.get(name, 0) for name in names], dtype=np.float64) for counts in (one, other))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return math.sqrt(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2))


def wasserstein(one: Sequence[float], other: Sequence[float]) -> float:
    """The Wasserstein-1 distance of two distributions by their quantiles at `QUANTILES`: the mean gap between them."""
    return float(np.trapezoid(np.abs(np.asarray(one) - np.asarray(other)), QUANTILES))


def frechet(
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    other_mean: NDArray[np.float64],
    other_deviation: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Per feature, the Fréchet distance of two normal distributions in their mean deviation; (D,), at most
    `MAX_DEVIATIONS`."""
    unit = np.sqrt((np.square(deviation) + np.square(other_deviation)) / 2)
    gap = np.hypot(mean - other_mean, deviation - other_deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(gap == 0, 0.0, gap / unit)
    return np.minimum(distance, MAX_DEVIATIONS)


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    positive = p > 0
    return float((p[positive] * np.log2(p[positive] / q[positive])).sum())


def _classes(now: Mapping[str, Any], before: Mapping[str, Any], limits: Drift) -> Measure | None:
    from scipy.stats import chi2

    if not now["emotions"] or not before["emotions"]:
        return None
    names = sorted({*now["emotions"], *before["emotions"]})
    shares = {name: tuple(side["emotions"].get(name, 0) / side["clips"] for side in (before, now)) for name in names}
    most = sorted(names, key=lambda name: -abs(shares[name][1] - shares[name][0]))[:3]
    sizes = 1 / now["clips"] + 1 / before["clips"]
    return _measure(
        name="class_balance",
        what="which emotions occur, and how often",
        value=jensen_shannon(now["emotions"], before["emotions"]),
        configured=limits.max_class_balance,
        chance=math.sqrt(chi2.ppf(1 - ALPHA, max(1, len(names) - 1)) / (8 * math.log(2)) * sizes),
        seen=", ".join(f"{name} {shares[name][0]:.0%} → {shares[name][1]:.0%} of the clips" for name in most),
    )


def _people(now: Mapping[str, Any], before: Mapping[str, Any], limits: Drift) -> Measure:
    return _measure(
        name="people",
        what="how many people the clips are spread over",
        value=max(0.0, 1 - now["effective_people"] / before["effective_people"]),
        configured=limits.max_people_lost,
        chance=0.0,
        seen=f"{before['people']} → {now['people']} people, as many as {before['effective_people']:.1f} → "
        f"{now['effective_people']:.1f} with equally many clips",
    )


def _distributions(now: Mapping[str, Any], before: Mapping[str, Any], limits: Drift) -> Iterator[Measure | None]:
    median = before["duration_s"][_MIDDLE]
    yield _distribution(
        (now, now["duration_s"]),
        (before, before["duration_s"]),
        name="durations",
        what="how long clips are",
        configured=limits.max_durations,
        words="{:.2f} s",
        unit=median,
    )
    yield _distribution(
        (now, now["speech_fraction"]),
        (before, before["speech_fraction"]),
        name="speech",
        what="how much of a clip is speech",
        configured=limits.max_coverage,
    )
    for modality in sorted({*now["coverage"], *before["coverage"]}):
        yield _distribution(
            (now, now["coverage"].get(modality, _NOWHERE)),
            (before, before["coverage"].get(modality, _NOWHERE)),
            name=f"coverage_{modality}",
            what=f"on how much of a clip {modality} is present",
            configured=limits.max_coverage,
        )


def _distribution(
    now: tuple[Mapping[str, Any], Sequence[float]],
    before: tuple[Mapping[str, Any], Sequence[float]],
    *,
    name: str,
    what: str,
    configured: float,
    words: str = "{:.0%}",
    unit: float = 1.0,
) -> Measure | None:
    """Compares two pairs (profile, its quantiles of one figure), shown in `words`; None where a side has none."""
    (profile, new), (earlier, old) = now, before
    if not new or not old:
        return None
    level = (QUANTILES[1:] + QUANTILES[:-1]) / 2
    spread = float((np.sqrt(level * (1 - level)) * np.diff(np.asarray(old))).sum())

    def range_of(side: Sequence[float]) -> str:
        low, middle, high = (words.format(side[place]) for place in (1, _MIDDLE, -2))
        return f"{middle} ({low} to {high})"

    return _measure(
        name=name,
        what=what,
        value=wasserstein(new, old) / unit,
        configured=configured,
        chance=TIMES_CHANCE * spread * (1 / math.sqrt(profile["clips"]) + 1 / math.sqrt(earlier["clips"])) / unit,
        seen=f"median (and 90 % of the clips) {range_of(old)} → {range_of(new)}",
    )


def _features(modality: str, now: Mapping[str, Any], before: Mapping[str, Any], limits: Drift) -> Measure | str:
    """The measure of one modality, or the reason without one, in words."""
    new, old = now["features"].get(modality), before["features"].get(modality)
    if new is None or old is None:
        return f"features of {modality}: {'gone' if new is None else 'new'}, so not compared"
    if new["encoder"] != old["encoder"] or new["alignment"] != old["alignment"]:
        return f"features of {modality}: made by a different encoder or alignment than before, so not compared"
    mean, deviation = np.asarray(new["mean"]), np.asarray(new["deviation"])
    old_mean, old_deviation = np.asarray(old["mean"]), np.asarray(old["deviation"])
    distances = frechet(mean, deviation, old_mean, old_deviation)
    worst = int(np.argmax(distances))
    return _measure(
        name=f"features_{modality}",
        what=f"the features of {modality}",
        value=float(np.sqrt(np.square(distances).mean())),
        configured=limits.max_features,
        chance=TIMES_CHANCE * math.sqrt(1.5 * sum(1 / side["effective_people"] for side in (now, before))),
        seen=f"most in feature {worst} of {len(distances)}: mean {old_mean[worst]:.3g} → {mean[worst]:.3g}, "
        f"deviation {old_deviation[worst]:.3g} → {deviation[worst]:.3g}",
    )


def _measure(*, name: str, what: str, value: float, configured: float, chance: float, seen: str) -> Measure:
    limit = round(max(configured, chance), 4)
    return Measure(name=name, what=what, value=round(value, 4), limit=limit, configured=configured, seen=seen)


def drift_json(compared: Compared, broken: Iterable[str]) -> dict[str, Any]:
    """The field `drift` of `result.json`; `broken` are the names of the measures that moved too far."""
    before = compared.before
    moved = set(broken)
    return {
        "compared_with": None if before is None else {"clips": before["clips"], "people": before["people"]},
        "measures": {
            measure.name: {
                "what": measure.what,
                "value": measure.value,
                "limit": measure.limit,
                "by_chance": measure.limit > measure.configured,
                "seen": measure.seen,
                "moved": measure.name in moved,
            }
            for measure in compared.measures
        },
        "notes": list(compared.notes),
    }
