"""The figures of an ablation: every row with its interval, and its difference from the default on the same people.

A figure is the mean over the seeds of a statistic of the pooled folds. Its interval comes from drawing *people* again
(`intervals.py`); all seeds and all rows are scored on the same draws, so differences are paired. How much the figure
moves with the seed stands beside it as a standard deviation; the interval does not contain that.

Legend: P people, S seeds, N items, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ablation.answers import ALL
from components.contracts.config import Evaluate
from components.evaluation.intervals import Bootstrap, Interval, Subjects, ratio, rounded
from components.evaluation.measure import Sample, ece_of_sums, per_class
from components.evaluation.slices import slice_scores
from components.inference.probabilities import FLOOR
from components.model import scores

Sums = NDArray[np.float64]
SEEDS_FOR_A_CLAIM = 5
HEADLINE = "macro_f1"
MISSING = "missing_macro_f1"


@dataclass(frozen=True, kw_only=True)
class Items:
    """The items that every row answers: `subjects`, `truth`, `fold` and `groups`, N each; `folds` names them."""

    subjects: Subjects
    truth: NDArray[np.int64]
    fold: NDArray[np.int64]
    folds: tuple[str, ...]
    groups: Sequence[Mapping[str, str]]

    @property
    def names(self) -> list[str]:
        """(N,) subject ids."""
        return [self.subjects.names[index] for index in self.subjects.index]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row of the table.

    Attributes:
        posterior: pattern → (S, N, K), as in `pooled.Pooled`.
        candidate: whether it may become the default.
        facts: what else is shown: the names that resolve to the same, parameters, core seconds.
    """

    name: str
    about: str
    posterior: Mapping[str, NDArray[np.float32]]
    candidate: bool
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Figure:
    """`sums`: (items, (S, N, K) posterior, confidence bins) → (P, S, ...); `statistic`: such sums over people, with any
    leading axes, → (..., S)."""

    sums: Callable[[Items, NDArray[np.float32], int], Sums]
    statistic: Callable[[Sums], Sums]

    def over_seeds(self, sums: Sums) -> Sums:
        return np.asarray(self.statistic(sums).mean(-1))


def _confusions(items: Items, posterior: NDArray[np.float32], bins: int) -> Sums:
    """(P, S, K, K) over the items that have a posterior; rows are the truth."""
    people, classes = len(items.subjects.names), posterior.shape[-1]
    there = ~np.isnan(posterior).any((0, 2))
    person, truth = items.subjects.index[there], items.truth[there]
    by_seed = [
        scores.confusion_by_group(person, people, truth, answers, classes) for answers in posterior[:, there].argmax(-1)
    ]
    return np.stack(by_seed, axis=1).astype(np.float64)


def _bins(items: Items, posterior: NDArray[np.float32], bins: int) -> Sums:
    """(P, S, 3, bins)."""
    names = items.names
    samples = [Sample(subjects=names, truth=items.truth, posterior=values) for values in posterior]
    return np.stack([sample.bins_by_subject(bins) for sample in samples], axis=1)


def _log_losses(items: Items, posterior: NDArray[np.float32], bins: int) -> Sums:
    """(P, S, 2): summed negative log-likelihood in nats, and items."""
    truth = np.broadcast_to(items.truth[None, :, None], (*posterior.shape[:2], 1))
    hit = np.take_along_axis(posterior.astype(np.float64), truth, axis=-1)[..., 0]
    losses = -np.log(np.maximum(hit, FLOOR))
    return items.subjects.sums(np.stack([losses, np.ones_like(losses)], axis=-1).transpose(1, 0, 2))


FIGURES: Mapping[str, _Figure] = {
    HEADLINE: _Figure(_confusions, scores.macro_f1),
    "accuracy": _Figure(_confusions, scores.accuracy),
    "uar": _Figure(_confusions, scores.uar),
    "ece": _Figure(_bins, ece_of_sums),
    "nll": _Figure(_log_losses, ratio),
}
# Not from one posterior but from all patterns in which a modality is missing: (P, S, patterns, K, K).
_MISSING = _Figure(_confusions, lambda sums: np.asarray(scores.macro_f1(sums).mean(-1)))


def table(rows: Sequence[TableRow], items: Items, config: Evaluate, *, seed: int) -> list[dict[str, Any]]:
    """The rows with their figures, as JSON; all rows are compared with the first.

    Each has `figures`, `minus_default`, `patterns` (macro-F1 by pattern of present modalities) and `folds`. The figure
    `missing_macro_f1` is the mean over the patterns in which a modality is missing, for rows that have them all.
    """
    bootstrap = Bootstrap(draws=config.bootstrap, confidence=config.confidence, seed=seed)
    missing = _missing_patterns(rows[0])
    sums = [_sums(row, items, missing, config.calibration_bins) for row in rows]
    return [
        {
            "name": row.name,
            "about": row.about,
            "candidate": row.candidate,
            **row.facts,
            "seeds": len(row.posterior[ALL]),
            "figures": {name: _value(own[name], _figure(name), bootstrap) for name in own},
            "minus_default": {
                name: _difference(own[name], sums[0][name], _figure(name), bootstrap)
                for name in own
                if index and name in sums[0]
            },
            "patterns": {
                name: _value(_confusions(items, values, 0), FIGURES[HEADLINE], bootstrap)
                for name, values in row.posterior.items()
                if name != ALL
            },
            "folds": _by_fold(row, items),
        }
        for index, (row, own) in enumerate(zip(rows, sums, strict=True))
    ]


def details(row: TableRow, items: Items, classes: Sequence[str], config: Evaluate, *, seed: int) -> dict[str, Any]:
    """By class and by group, over all seeds' answers together; a person stays one cluster."""
    bootstrap = Bootstrap(draws=config.bootstrap, confidence=config.confidence, seed=seed)
    posterior = row.posterior[ALL]
    sample = Sample(
        subjects=items.names * len(posterior),
        truth=np.tile(items.truth, len(posterior)),
        posterior=posterior.reshape(-1, posterior.shape[-1]),
    )
    keys = sorted({key for group in items.groups for key in group})
    groups = {key: Subjects.of([group.get(key, "") for group in items.groups] * len(posterior)) for key in keys}
    return {
        "per_class": {scores.pop("class"): scores for scores in per_class(sample, classes, bootstrap=bootstrap)},
        "slices": slice_scores(sample, groups, bootstrap=bootstrap, bins=config.calibration_bins),
    }


def verdict(rows: Sequence[Mapping[str, Any]], *, seeds: int) -> dict[str, Any]:
    """Which candidate scores highest, what that is worth, and whether it is the default (the first row).

    Returns:
        `best`, `is_default`, `claim` (at least five seeds and an interval without 0), `difference` and `words`.
    """
    default, rivals = rows[0], [row for row in rows[1:] if row["candidate"]]
    best = max([default, *rivals], key=lambda row: row["figures"][HEADLINE]["value"] or 0.0)
    if best is default:
        return _default_leads(default, rivals, seeds)
    difference = best["minus_default"][HEADLINE]
    clear = _above_zero(difference)
    enough = seeds >= SEEDS_FOR_A_CLAIM
    head = f"{best['name']} {_scores(best)} against the default's {_scores(default)}: {_signed(difference)}"
    if not enough:
        words = f"{best['name']} leads, not a claim: {seeds} of the {SEEDS_FOR_A_CLAIM} seeds a claim needs. {head}."
    elif clear:
        words = (
            f"{best['name']} wins and is not the configured default. {head}; the interval excludes 0. "
            "Being the best of several it may owe some of that to luck: the row nested_choice is free of it."
        )
    else:
        words = f"No variant beats the default. {best['name']} scores highest, but: {head}; the interval includes 0."
    return {
        "best": best["name"],
        "is_default": False,
        "claim": enough and clear,
        "difference": difference,
        "words": words,
    }


def _default_leads(default: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """The default scores highest; it wins only where it beats every rival."""
    verb = f"The configured default scores highest, {_scores(default)}"
    if not rivals:
        return {"best": default["name"], "is_default": True, "claim": False, "difference": None, "words": f"{verb}."}
    next_best = max(rivals, key=lambda row: row["figures"][HEADLINE]["value"] or 0.0)
    difference = next_best["minus_default"][HEADLINE]
    beaten = [row["name"] for row in rivals if _below_zero(row["minus_default"][HEADLINE])]
    claim = seeds >= SEEDS_FOR_A_CLAIM and len(beaten) == len(rivals)
    words = f"{verb}; next is {next_best['name']}, {_signed(difference)}."
    if seeds < SEEDS_FOR_A_CLAIM:
        words += f" It leads, not a claim: {seeds} of the {SEEDS_FOR_A_CLAIM} seeds a claim needs."
    elif claim:
        words += " It wins: the interval of every difference excludes 0."
    else:
        words += f" The interval of the difference excludes 0 for {len(beaten)} of {len(rivals)} variants" + (
            f": {', '.join(beaten)}." if beaten else "."
        )
    return {"best": default["name"], "is_default": True, "claim": claim, "difference": difference, "words": words}


def _figure(name: str) -> _Figure:
    return _MISSING if name == MISSING else FIGURES[name]


def _missing_patterns(default: TableRow) -> list[str]:
    """The patterns in which a modality is missing."""
    named = [name for name in default.posterior if name != ALL]
    most = max((name.count("+") for name in named), default=0)
    return [name for name in named if name.count("+") < most]


def _sums(row: TableRow, items: Items, missing: Sequence[str], bins: int) -> dict[str, Sums]:
    posterior = row.posterior[ALL]
    made: dict[Any, Sums] = {}
    sums = {}
    for name, figure in FIGURES.items():
        if figure.sums not in made:
            made[figure.sums] = figure.sums(items, posterior, bins)
        sums[name] = made[figure.sums]
    # A row with fewer modalities has fewer patterns; a mean over those would not be comparable.
    if missing and all(name in row.posterior for name in missing):
        sums[MISSING] = np.stack([_confusions(items, row.posterior[name], bins) for name in missing], axis=2)
    return sums


def _value(sums: Sums, figure: _Figure, bootstrap: Bootstrap) -> dict[str, float | None]:
    return {**bootstrap.of_sums(sums, figure.over_seeds).to_json(), "seed_sd": _spread(figure.statistic(sums.sum(0)))}


def _difference(first: Sums, second: Sums, figure: _Figure, bootstrap: Bootstrap) -> dict[str, float | None]:
    interval: Interval = bootstrap.difference(first, second, figure.over_seeds)
    spread = None
    if first.shape == second.shape:
        spread = _spread(figure.statistic(first.sum(0)) - figure.statistic(second.sum(0)))
    return {**interval.to_json(), "seed_sd": spread}


def _spread(per_seed: Sums) -> float | None:
    return rounded(float(np.std(per_seed, ddof=1))) if per_seed.size > 1 else None


def _by_fold(row: TableRow, items: Items) -> dict[str, dict[str, float | None]]:
    by_fold = {}
    for index, name in enumerate(items.folds):
        mine = items.fold == index
        posterior = row.posterior[ALL][:, mine]
        counts = np.stack(
            [scores.confusion(items.truth[mine], answers, posterior.shape[-1]) for answers in posterior.argmax(-1)]
        )
        by_fold[name] = {
            HEADLINE: rounded(float(scores.macro_f1(counts).mean())),
            "accuracy": rounded(float(scores.accuracy(counts).mean())),
        }
    return by_fold


def _above_zero(difference: Mapping[str, float | None]) -> bool:
    low = difference["low"]
    return low is not None and low > 0


def _below_zero(difference: Mapping[str, float | None]) -> bool:
    high = difference["high"]
    return high is not None and high < 0


def _scores(row: Mapping[str, Any]) -> str:
    value = row["figures"][HEADLINE]["value"]
    return "–" if value is None else f"{value:.3f}"


def _signed(difference: Mapping[str, float | None]) -> str:
    value, low, high = difference["value"], difference["low"], difference["high"]
    if value is None:
        return "difference unknown"
    if low is None or high is None:
        return f"difference {value:+.3f}"
    return f"difference {value:+.3f} [{low:+.3f}, {high:+.3f}]"
