"""Outer folds of a cross-validation: the same clips dealt again and again, every person tested once. A corpus's own
test split is one fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from components.catalog.assign import FOLD_GROUP, corpus_folds, published_splits, without_shared_texts
from components.catalog.rows import classes_of, subjects_of
from components.catalog.splits import Subject, deal, folds, leave_one_dataset_out, splits_of_folds
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


def make_folds(
    rows: Sequence[CatalogRow],
    kind: Kind,
    seed: int,
    *,
    config: Catalog = PEOPLE_APART,
    corpus_splits: Mapping[str, str | None] = MappingProxyType({}),
) -> tuple[Fold, ...]:
    """The folds over all clips of a catalog; their split there does not matter.

    With `catalog.by_text` no text is in two splits of a fold: clips that would bring one there are left out of it.
    A person is then tested on some texts alone.

    Args:
        rows: catalog rows.
        kind: a number of folds, dealt by person; "corpus": those that the corpora publish, or the one test split that
            they publish; "dataset": one per dataset, which is then tested by a model trained on the others. Of numbered
            folds, the one after the tested one calibrates and the others train.
        seed: of the deal.
        config: how the catalog is dealt; of it, whether texts are kept apart, and the shares of a published split that
            has no calibration part.
        corpus_splits: clip id → the split that its corpus publishes, or None.

    Raises:
        DataError: too few people, folds, datasets or texts; the corpora publish neither folds nor a test split.
    """
    subjects = subjects_of(rows)
    if kind == "dataset":
        return tuple(_without(rows, subjects, name, config, seed) for name in _datasets(rows))
    if kind == "corpus" and published(rows, corpus_splits) == TEST_SPLIT:
        return (_fold(TEST_SPLIT, rows, published_splits(rows, corpus_splits, config, seed), config, seed),)
    fold_of = folds(subjects, kind, seed) if isinstance(kind, int) else corpus_folds(rows)
    made = []
    for number in range(len(set(fold_of.values()))):
        of_subject = splits_of_folds(fold_of, number)
        split_of = {row["clip_id"]: of_subject[row["subject_id"]] for row in rows}
        made.append(_fold(str(number), rows, split_of, config, seed))
    return tuple(made)


def published(rows: Sequence[CatalogRow], corpus_splits: Mapping[str, str | None]) -> str:
    """What every corpus publishes: `FOLDS`, else `TEST_SPLIT`. Raises DataError: they have neither in common."""
    has: dict[str, list[str]] = {}
    for name in sorted({row["dataset"] for row in rows}):
        own = [row for row in rows if row["dataset"] == name]
        folds_named = all(FOLD_GROUP in dict(row["groups"]) for row in own)
        tested = any(CORPUS_SPLITS.get(corpus_splits.get(row["clip_id"]) or "") == "test" for row in own)
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


def _datasets(rows: Sequence[CatalogRow]) -> list[str]:
    names = sorted({row["dataset"] for row in rows})
    if len(names) < 2:
        raise DataError(
            "to leave one dataset out there must be two",
            where="ablate.folds",
            seen=", ".join(names) or "none",
            remedy="Name one more in `datasets`, or set ablate.folds to a number",
        )
    return names


def _without(rows: Sequence[CatalogRow], subjects: Sequence[Subject], dataset: str, config: Catalog, seed: int) -> Fold:
    of_subject = leave_one_dataset_out(subjects, dataset, seed)
    # Clips that a tested person has in other datasets are not learned here, and tested when those are left out.
    split_of = {
        row["clip_id"]: of_subject[row["subject_id"]]
        for row in rows
        if (of_subject[row["subject_id"]] == "test") == (row["dataset"] == dataset)
    }
    return replace(_fold(dataset, rows, split_of, config, seed), adapts=True)


def alone(rows: Sequence[CatalogRow], dataset: str, seed: int, *, config: Catalog = PEOPLE_APART) -> Fold:
    """The fold that trains and calibrates on one dataset: its other people are tested, and all other datasets.

    Clips that the people it learns from have in other datasets are in none of the splits.

    Raises:
        DataError: the dataset has fewer people than splits.
    """
    inside = [subject for subject in subjects_of(rows) if dataset in subject.datasets]
    shares = {"train": config.train, "calibration": config.calibration, "test": config.test}
    dealt = deal(inside, shares, seed)
    of_subject = {row["subject_id"]: dealt.get(row["subject_id"], "test") for row in rows}
    split_of = {
        row["clip_id"]: of_subject[row["subject_id"]]
        for row in rows
        if row["dataset"] == dataset or of_subject[row["subject_id"]] == "test"
    }
    return replace(_fold(dataset, rows, split_of, config, seed), adapts=True)


def _fold(name: str, rows: Sequence[CatalogRow], split_of: Mapping[str, str], config: Catalog, seed: int) -> Fold:
    dealt = [row for row in rows if row["clip_id"] in split_of]
    split_of = without_shared_texts(dealt, split_of, config, seed)
    shown: dict[str, set[str]] = {"train": set(), "calibration": set(), "test": set()}
    for row in dealt:
        if row["clip_id"] in split_of:
            shown[split_of[row["clip_id"]]] |= classes_of(row)
    for split, classes in shown.items():
        if not classes:
            raise DataError(f"the {split} split of a fold is empty", where=f"fold {name}", remedy="Change ablate.folds")
    return Fold(name=name, split_of=split_of, unlearned=tuple(sorted(shown["test"] - shown["train"])))
