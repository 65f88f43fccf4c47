"""Deals subjects to splits: subjects, never clips, so that no person is in two splits.

The deal is a function of the seed and of the *set of subjects*. Subjects are ordered by a hash of their id, dataset by
dataset, and cut into consecutive blocks of the configured sizes. Therefore:

* adding or removing a subject changes the split of at most one *other* subject of that dataset at each cut (two in
  all), and of none in other datasets;
* adding, removing or reordering clips of subjects that stay changes nothing.

Datasets with fewer subjects than splits are dealt together. All this holds as long as no class is missing from a split
that it could be in. Where one is, subjects of the same dataset are exchanged, one pair at a time, until none is: train
comes first, then test, then calibration.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.contracts.errors import DataError

SPLITS: tuple[str, ...] = ("train", "calibration", "test")

# A class that is missing from train cannot be learned; one missing from test cannot be measured.
_MISSING_COST = {"train": 10_000, "test": 100, "calibration": 1}
_PAIRS_TRIED = 64


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person: the datasets they appear in, and their number of clips per class."""

    subject_id: str
    datasets: tuple[str, ...]
    clips_per_class: Mapping[str, int]


def deal(subjects: Sequence[Subject], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deals subjects to splits.

    Args:
        subjects: everyone, in any order.
        fractions: split → share of the subjects of each dataset; they add up to 1. Order is the order of the blocks.
        seed: a different seed gives a different deal.

    Returns:
        Subject id → split. No split is empty.

    Raises:
        DataError: there are fewer subjects than splits.
    """
    if len(subjects) < len(fractions):
        raise DataError(
            "too few subjects to keep them apart in the splits",
            seen=f"{len(subjects)} ({', '.join(sorted(subject.subject_id for subject in subjects)) or 'none'})",
            allowed=f"at least {len(fractions)}: one each for {', '.join(fractions)}",
            remedy="Bring more people; splitting one person's clips would measure memory, not skill",
        )
    dealt: dict[str, str] = {}
    for group in _groups(subjects, len(fractions)):
        ordered = sorted(group, key=lambda subject: rank(seed, subject.subject_id))
        for split, (first, last) in zip(fractions, blocks(len(ordered), list(fractions.values())), strict=True):
            dealt.update({subject.subject_id: split for subject in ordered[first:last]})
    return _repaired(subjects, dealt, seed)


def folds(subjects: Sequence[Subject], k: int, seed: int) -> dict[str, int]:
    """Subject id → fold in `[0, k)`, dealt as in `deal` but without exchanges. Raises DataError below k subjects."""
    names = {str(fold): 1 / k for fold in range(k)}
    if len(subjects) < k:
        raise DataError("fewer subjects than folds", seen=len(subjects), allowed=f"at least {k}")
    dealt: dict[str, int] = {}
    for group in _groups(subjects, k):
        ordered = sorted(group, key=lambda subject: rank(seed, subject.subject_id))
        for fold, (first, last) in enumerate(blocks(len(ordered), list(names.values()))):
            dealt.update({subject.subject_id: fold for subject in ordered[first:last]})
    return dealt


def splits_of_folds(fold_of: Mapping[str, int], test_fold: int) -> dict[str, str]:
    """Subject id → split: `test_fold` is the test split, the fold after it calibrates, the others train.

    Raises:
        DataError: there are fewer than three folds, or `test_fold` is not one of them.
    """
    present = sorted(set(fold_of.values()))
    if len(present) < len(SPLITS):
        raise DataError("fewer folds than splits", seen=len(present), allowed=f"at least {len(SPLITS)}")
    if test_fold >= len(present):
        raise DataError(
            "there is no such fold", where="catalog.test_fold", seen=test_fold, allowed=f"0 to {len(present) - 1}"
        )
    roles = {present[test_fold]: "test", present[(test_fold + 1) % len(present)]: "calibration"}
    return {subject_id: roles.get(fold, "train") for subject_id, fold in fold_of.items()}


def leave_one_dataset_out(subjects: Sequence[Subject], dataset: str, seed: int) -> dict[str, str]:
    """Subject id → split: all subjects of `dataset` are in test, the others are dealt to train (3 of 4) and
    calibration.

    A subject of several datasets is in test too, so that no subject of the test split is trained or calibrated on.

    Raises:
        DataError: `dataset` has no subjects, or fewer than two subjects are outside it.
    """
    inside = [subject for subject in subjects if dataset in subject.datasets]
    others = [subject for subject in subjects if dataset not in subject.datasets]
    if not inside:
        datasets = sorted({name for subject in subjects for name in subject.datasets})
        raise DataError("this dataset has no subjects", where="folds", seen=dataset, allowed=", ".join(datasets))
    dealt = deal(others, {"train": 0.75, "calibration": 0.25}, seed)
    return {**dealt, **{subject.subject_id: "test" for subject in inside}}


def rank(seed: int, name: str) -> str:
    """The key by which people and texts are ordered before a deal."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()


def _groups(subjects: Sequence[Subject], blocks: int) -> list[list[Subject]]:
    """Subjects by dataset; datasets too small to be in every block are dealt together."""
    by_dataset: dict[tuple[str, ...], list[Subject]] = defaultdict(list)
    for subject in subjects:
        by_dataset[subject.datasets].append(subject)
    large = [group for _, group in sorted(by_dataset.items()) if len(group) >= blocks]
    small = [subject for _, group in sorted(by_dataset.items()) if len(group) < blocks for subject in group]
    if small and len(small) < blocks and large:
        # Too few even together: they join the largest dataset rather than all fall into the first block.
        max(large, key=len).extend(small)
        return large
    return [*large, small] if small else large


def blocks(count: int, fractions: Sequence[float]) -> list[tuple[int, int]]:
    """Consecutive `[first, last)` of the given shares, each at least one long. A cut moves by at most one when
    `count` does, because rounding and clamping of a cumulative share are monotone."""
    cuts = [0]
    share = 0.0
    for position, fraction in enumerate(fractions[:-1], start=1):
        share += fraction
        ideal = int(count * share + 0.5)
        cuts.append(min(max(ideal, cuts[-1] + 1), count - (len(fractions) - position)))
    return list(zip(cuts, [*cuts[1:], count], strict=True))


def _repaired(subjects: Sequence[Subject], dealt: Mapping[str, str], seed: int) -> dict[str, str]:
    """Exchanges pairs of subjects of a dataset while that leaves fewer classes missing."""
    split_of = dict(dealt)
    holders: dict[tuple[str, str], int] = defaultdict(int)
    for subject in subjects:
        for name in subject.clips_per_class:
            holders[split_of[subject.subject_id], name] += 1
    ordered = sorted(subjects, key=lambda subject: rank(seed, subject.subject_id))
    classes = sorted({name for subject in subjects for name in subject.clips_per_class})
    splits = [split for split in _MISSING_COST if split in set(split_of.values())]
    while True:
        best = min(
            (
                (_change(one, other, split_of, holders), position)
                for position, (one, other) in enumerate(_pairs(ordered, split_of, holders, classes, splits))
            ),
            default=(0, 0),
        )
        if best[0] >= 0:
            return split_of
        one, other = _pairs(ordered, split_of, holders, classes, splits)[best[1]]
        own_split, other_split = split_of[one.subject_id], split_of[other.subject_id]
        for subject, old, new in ((one, own_split, other_split), (other, other_split, own_split)):
            split_of[subject.subject_id] = new
            for name in subject.clips_per_class:
                holders[old, name] -= 1
                holders[new, name] += 1


def _pairs(
    ordered: Sequence[Subject],
    split_of: Mapping[str, str],
    holders: Mapping[tuple[str, str], int],
    classes: Sequence[str],
    splits: Sequence[str],
) -> list[tuple[Subject, Subject]]:
    """Candidates for an exchange: a subject with a class that is missing from a split, and a subject of that split."""
    pairs: list[tuple[Subject, Subject]] = []
    for split in splits:
        for name in classes:
            if holders.get((split, name), 0):
                continue
            have = [s for s in ordered if name in s.clips_per_class][:_PAIRS_TRIED]
            pairs += [
                (giver, other)
                for giver in have
                for other in [s for s in ordered if split_of[s.subject_id] == split and s.datasets == giver.datasets][
                    :_PAIRS_TRIED
                ]
            ]
    return pairs


def _change(one: Subject, other: Subject, split_of: Mapping[str, str], holders: Mapping[tuple[str, str], int]) -> int:
    """How the cost of missing classes changes when two subjects exchange their splits."""
    own_split, other_split = split_of[one.subject_id], split_of[other.subject_id]
    cost = 0
    for name in set(one.clips_per_class) ^ set(other.clips_per_class):
        gives = own_split if name in one.clips_per_class else other_split
        gets = other_split if gives == own_split else own_split
        cost += _MISSING_COST[gives] * (holders[gives, name] == 1)
        cost -= _MISSING_COST[gets] * (holders.get((gets, name), 0) == 0)
    return cost
