"""Outer folds of a cross-validation: the same clips dealt again and again, every person tested once. A corpus's own
test split is one fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from components.catalog.assign import corpus_folds, published_splits, without_shared_texts
from components.catalog.clips import FOLD_GROUP, OUT, Clips, Splits
from components.catalog.splits import SPLITS, Subject, deal, folds, leave_one_dataset_out, splits_of_folds
from components.contracts.config import Catalog
from components.contracts.errors import DataError
from components.contracts.splits import CORPUS_SPLITS

CatalogRow = Mapping[str, Any]
Kind = int | Literal["corpus", "dataset"]
PEOPLE_APART = Catalog()
# What corpora publish; the latter is the name of its only fold.
FOLDS, TEST_SPLIT = "folds", "test split"


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold: clip id → "train", "calibration" or "test". Clips that are in none of them are left out.

    Attributes:
        unlearned: the classes that occur in test clips but in no training clip.
        adapts: whether the test clips are also answered as adapted to the recordings of their dataset.
    """

    name: str
    split_of: Mapping[str, str]
    unlearned: tuple[str, ...] = ()
    adapts: bool = False

    def ids(self, split: str) -> list[str]:
        """The clips of a split, sorted."""
        return sorted(clip_id for clip_id, own in self.split_of.items() if own == split)


def make_folds(clips: Clips, kind: Kind, seed: int, *, config: Catalog = PEOPLE_APART) -> tuple[Fold, ...]:
    """The folds over all clips of a catalog; their split there does not matter.

    With `catalog.by_text` no text is in two splits of a fold: clips that would bring one there are left out of it.
    A person is then tested on some texts alone.

    Args:
        clips: those of the catalog, with the splits that their corpora publish.
        kind: a number of folds, dealt by person; "corpus": those that the corpora publish, or the one test split that
            they publish; "dataset": one per dataset, which is then tested by a model trained on the others. Of numbered
            folds, the one after the tested one calibrates and the others train.
        seed: of the deal.
        config: how the catalog is dealt; of it, whether texts are kept apart, and the shares of a published split that
            has no calibration part.

    Raises:
        DataError: too few people, folds, datasets or texts; the corpora publish neither folds nor a test split.
    """
    subjects = clips.subjects()
    if kind == "dataset":
        return tuple(_without(clips, subjects, name, config, seed) for name in _datasets(clips))
    if kind == "corpus" and published(clips) == TEST_SPLIT:
        return (_fold(TEST_SPLIT, clips, published_splits(clips, config, seed), config, seed),)
    fold_of = folds(subjects, kind, seed) if isinstance(kind, int) else corpus_folds(clips)
    return tuple(
        _fold(str(number), clips, clips.split_by_person(splits_of_folds(fold_of, number)), config, seed)
        for number in range(len(set(fold_of.values())))
    )


def published(clips: Clips) -> str:
    """What every corpus publishes: `FOLDS`, else `TEST_SPLIT`. Raises DataError: they have neither in common."""
    has: dict[str, list[str]] = {}
    tests = [place for place, name in enumerate(clips.published.names.to_pylist()) if CORPUS_SPLITS.get(name) == "test"]
    for place, name in enumerate(clips.datasets.names.to_pylist()):
        own = clips[clips.datasets.codes == place]
        folds_named = bool((own.folds.codes >= 0).all())
        tested = bool(np.isin(own.published.codes, tests).any())
        has[name] = [FOLDS] * folds_named + [TEST_SPLIT] * tested
    for kind in (FOLDS, TEST_SPLIT):
        if all(kind in kinds for kinds in has.values()):
            return kind
    raise DataError(
        "the corpora publish no folds, or no test split, in common",
        where="ablate.folds",
        seen="; ".join(f"{name}: {' and '.join(kinds) or 'neither'}" for name, kinds in has.items()),
        allowed=f"{FOLDS} (the group {FOLD_GROUP!r} on every clip) or {TEST_SPLIT} (`split`) in each",
        remedy="Set ablate.folds to a number, or name only corpora that publish the same in `datasets`",
    )


def _datasets(clips: Clips) -> list[str]:
    names: list[str] = clips.datasets.names.to_pylist()
    if len(names) < 2:
        raise DataError(
            "to leave one dataset out there must be two",
            where="ablate.folds",
            seen=", ".join(names) or "none",
            remedy="Name one more in `datasets`, or set ablate.folds to a number",
        )
    return names


def _without(clips: Clips, subjects: list[Subject], dataset: str, config: Catalog, seed: int) -> Fold:
    split = clips.split_by_person(leave_one_dataset_out(subjects, dataset, seed))
    # Clips that a tested person has in other datasets are not learned here, and tested when those are left out.
    split = np.where((split == SPLITS.index("test")) == clips.in_dataset(dataset), split, OUT).astype(np.int8)
    return replace(_fold(dataset, clips, split, config, seed), adapts=True)


def alone(clips: Clips, dataset: str, seed: int, *, config: Catalog = PEOPLE_APART) -> Fold:
    """The fold that trains and calibrates on one dataset: its other people are tested, and all other datasets.

    Clips that the people it learns from have in other datasets are in none of the splits.

    Raises:
        DataError: the dataset has fewer people than splits.
    """
    subjects = clips.subjects()
    inside = [subject for subject in subjects if dataset in subject.datasets]
    shares = {"train": config.train, "calibration": config.calibration, "test": config.test}
    everyone = dict.fromkeys((subject.subject_id for subject in subjects), "test")
    split = clips.split_by_person({**everyone, **deal(inside, shares, seed)})
    split = np.where(clips.in_dataset(dataset) | (split == SPLITS.index("test")), split, OUT).astype(np.int8)
    return replace(_fold(dataset, clips, split, config, seed), adapts=True)


def _fold(name: str, clips: Clips, split: Splits, config: Catalog, seed: int) -> Fold:
    split = without_shared_texts(clips, split, config, seed)
    shown = {split_name: set(clips[split == place].present) for place, split_name in enumerate(SPLITS)}
    for split_name, classes in shown.items():
        if not classes:
            raise DataError(
                f"the {split_name} split of a fold is empty", where=f"fold {name}", remedy="Change ablate.folds"
            )
    return Fold(name=name, split_of=clips.named(split), unlearned=tuple(sorted(shown["test"] - shown["train"])))
