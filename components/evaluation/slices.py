"""Scores by group of people (or by dataset), and the gap between the best and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.intervals import Bootstrap, Interval, Subjects, at_once, ratio
from components.evaluation.measure import Sample, measure

MIN_ITEMS = 5


def slice_scores(
    sample: Sample, groups: Mapping[str, Subjects], *, bootstrap: Bootstrap, bins: int
) -> dict[str, dict[str, Any]]:
    """Scores for every value of every group key.

    Args:
        sample: N items; groups: by key, the value of each of them, empty where it has none.

    Returns:
        key → {"values": {value: scores}, "accuracy_gap": interval}. The gap is the best value's accuracy minus the
        worst one's; being a maximum it leans upward, the more so the smaller the groups. Keys with one value are left
        out, and so are values with fewer than five items.
    """
    slices: dict[str, dict[str, Any]] = {}
    for key, of_item in sorted(groups.items()):
        counts = np.bincount(of_item.index, minlength=len(of_item.names))
        numbers = [place for place, name in enumerate(of_item.names) if name and counts[place] >= MIN_ITEMS]
        if len(numbers) < 2:
            continue
        parts = ((of_item.names[number], sample.among(of_item.index == number)) for number in numbers)
        slices[key] = {
            "values": {value: measure(part, bootstrap=bootstrap, bins=bins).to_json() for value, part in parts},
            "accuracy_gap": _gap(sample, of_item.index, numbers, bootstrap).to_json(),
        }
    return slices


def _gap(sample: Sample, of_item: NDArray[np.integer], numbers: Sequence[int], bootstrap: Bootstrap) -> Interval:
    """All groups are redrawn together, so a person who is in two groups is drawn into both."""
    people = sample.people
    sums = np.zeros((len(people.names), len(numbers), 2))
    for some in at_once(sample.size):
        correct = (sample.posterior[some].argmax(-1) == sample.truth[some]).astype(np.float64)
        members = of_item[some, None] == np.array(numbers)
        np.add.at(sums, people.index[some], np.stack([correct[:, None] * members, members], -1))

    def gap(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = ratio(sums)
        # A draw in which a group is empty has no gap.
        return np.asarray(shares.max(-1) - shares.min(-1))

    return bootstrap.of_sums(sums, gap)
