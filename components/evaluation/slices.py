"""Scores by group of people (or by dataset), and the gap between the best and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.intervals import Bootstrap, Interval, Subjects, ratio
from components.evaluation.measure import Sample, measure

MIN_ITEMS = 5


def slice_scores(
    sample: Sample, groups: Sequence[Mapping[str, str]], *, bootstrap: Bootstrap, bins: int
) -> dict[str, dict[str, Any]]:
    """Scores for every value of every group key.

    Args:
        sample: N items; groups: one mapping per item.

    Returns:
        key → {"values": {value: scores}, "accuracy_gap": interval}. The gap is the best value's accuracy minus the
        worst one's; being a maximum it leans upward, the more so the smaller the groups. Keys with one value are left
        out, and so are values with fewer than five items.
    """
    slices: dict[str, dict[str, Any]] = {}
    subjects = np.asarray(sample.subjects)
    for key in sorted({key for group in groups for key in group}):
        of_item = np.array([group.get(key, "") for group in groups])
        values = [str(value) for value in np.unique(of_item) if value and (of_item == value).sum() >= MIN_ITEMS]
        if len(values) < 2:
            continue
        parts = {
            value: Sample(
                subjects=subjects[of_item == value].tolist(),
                truth=sample.truth[of_item == value],
                posterior=sample.posterior[of_item == value],
            )
            for value in values
        }
        slices[key] = {
            "values": {value: measure(part, bootstrap=bootstrap, bins=bins).to_json() for value, part in parts.items()},
            "accuracy_gap": _gap(sample, of_item, values, bootstrap).to_json(),
        }
    return slices


def _gap(sample: Sample, of_item: np.ndarray[Any, Any], values: Sequence[str], bootstrap: Bootstrap) -> Interval:
    """All groups are redrawn together, so a person who is in two groups is drawn into both."""
    people = Subjects.of(sample.subjects)
    correct = (sample.posterior.argmax(-1) == sample.truth).astype(np.float64)
    per_item = np.stack(
        [np.stack([correct * (of_item == value), (of_item == value).astype(np.float64)], -1) for value in values], 1
    )

    def gap(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        shares = ratio(sums)
        # A draw in which a group is empty has no gap.
        return np.asarray(shares.max(-1) - shares.min(-1))

    return bootstrap.of_sums(people.sums(per_item), gap)
