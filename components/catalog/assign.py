"""Assigns a split to every clip as configured: dealt, by folds, or as published by the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.catalog.rows import classes_of, subjects_of
from components.catalog.splits import SPLITS, deal, folds, missing_classes, splits_of_folds
from components.catalog.texts import keep_texts_apart
from components.contracts.config import Catalog
from components.contracts.errors import DataError, nearest
from components.contracts.splits import CORPUS_SPLITS

FOLD_GROUP = "fold"

Row = Mapping[str, Any]


def assign(rows: Sequence[Row], corpus_splits: Mapping[str, str | None], config: Catalog, seed: int) -> dict[str, str]:
    """Clip id → split, of every clip except those that `catalog.by_text` leaves out.

    Args:
        rows: catalog rows without `split`.
        corpus_splits: clip id → split of the corpus, or None.
        config: the section `catalog`.
        seed: of the deal.

    Raises:
        DataError: too few subjects, or texts; an unknown split name; no folds where they are configured; a
            class that would be tested and cannot be learned.
    """
    if config.folds is not None:
        split_of = _by_folds(rows, config, seed)
    elif config.use_corpus_splits:
        split_of = published_splits(rows, corpus_splits, config, seed)
    else:
        split_of = _dealt(rows, _fractions(config), seed)
    split_of = without_shared_texts(rows, split_of, config, seed)
    _check([row for row in rows if row["clip_id"] in split_of], split_of)
    return split_of


def without_shared_texts(
    rows: Sequence[Row], split_of: Mapping[str, str], config: Catalog, seed: int
) -> dict[str, str]:
    """Clip id → split of the clips that remain when texts are kept apart too; of all, without `catalog.by_text`.

    Raises:
        DataError: there are too few texts.
    """
    return keep_texts_apart(rows, split_of, _fractions(config), seed) if config.by_text else dict(split_of)


def shared_subjects(rows: Sequence[Row], split_of: Mapping[str, str]) -> list[str]:
    """Subjects in more than one split, sorted; only the splits of a corpus can have any."""
    splits_of: dict[str, set[str]] = {}
    for row in rows:
        splits_of.setdefault(row["subject_id"], set()).add(split_of[row["clip_id"]])
    return sorted(subject_id for subject_id, splits in splits_of.items() if len(splits) > 1)


def _fractions(config: Catalog) -> dict[str, float]:
    return {"train": config.train, "calibration": config.calibration, "test": config.test}


def _dealt(rows: Sequence[Row], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    of_subject = deal(subjects_of(rows), fractions, seed)
    return {row["clip_id"]: of_subject[row["subject_id"]] for row in rows}


def _by_folds(rows: Sequence[Row], config: Catalog, seed: int) -> dict[str, str]:
    number = config.folds
    fold_of = folds(subjects_of(rows), number, seed) if isinstance(number, int) else corpus_folds(rows)
    of_subject = splits_of_folds(fold_of, config.test_fold)
    return {row["clip_id"]: of_subject[row["subject_id"]] for row in rows}


def corpus_folds(rows: Sequence[Row]) -> dict[str, int]:
    """Subject id → fold, as published by the corpora, counted from 0 in the order of their names.

    Raises:
        DataError: a corpus has a clip without the group `fold`, or a person is in two.
    """
    without = sorted({row["dataset"] for row in rows if FOLD_GROUP not in dict(row["groups"])})
    if without:
        raise DataError(
            "these corpora publish no folds",
            where="catalog.folds",
            seen=", ".join(without),
            allowed=f"a group {FOLD_GROUP!r} on every clip",
            remedy="Set catalog.folds to a number, or use catalog.use_corpus_splits where they publish splits",
        )
    named: dict[str, str] = {}
    for row in rows:
        name = dict(row["groups"])[FOLD_GROUP]
        if named.setdefault(row["subject_id"], name) != name:
            raise DataError(
                "one person is in two folds",
                where=row["subject_id"],
                seen=f"{named[row['subject_id']]}, {name}",
                remedy="Set catalog.folds to a number",
            )
    order = {name: position for position, name in enumerate(sorted(set(named.values())))}
    return {subject_id: order[name] for subject_id, name in named.items()}


def published_splits(
    rows: Sequence[Row], corpus_splits: Mapping[str, str | None], config: Catalog, seed: int
) -> dict[str, str]:
    """Clip id → split, as the corpora publish it. Subjects without one are dealt; a missing calibration split is dealt
    from the people in train.

    Raises:
        DataError: an unknown split name.
    """
    split_of: dict[str, str] = {}
    of_subject: dict[str, str] = {}
    for row in rows:
        name = corpus_splits.get(row["clip_id"])
        if name is None:
            continue
        if name not in CORPUS_SPLITS:
            raise DataError(
                "unknown split name",
                where=row["clip_id"],
                seen=name,
                allowed=", ".join(CORPUS_SPLITS),
                remedy=nearest(name, CORPUS_SPLITS) or "Map it in the adapter",
            )
        split_of[row["clip_id"]] = CORPUS_SPLITS[name]
        of_subject.setdefault(row["subject_id"], CORPUS_SPLITS[name])
    for row in rows:
        if row["clip_id"] not in split_of and row["subject_id"] in of_subject:
            split_of[row["clip_id"]] = of_subject[row["subject_id"]]
    free = [row for row in rows if row["clip_id"] not in split_of]
    if free:
        split_of.update(_dealt(free, _fractions(config), seed))
    if "calibration" not in split_of.values():
        both = config.train + config.calibration
        train = [row for row in rows if split_of[row["clip_id"]] == "train"]
        shares = {"train": config.train / both, "calibration": config.calibration / both}
        split_of.update(_dealt(train, shares, seed))
    return split_of


def _check(rows: Sequence[Row], split_of: Mapping[str, str]) -> None:
    for split in SPLITS:
        if split not in split_of.values():
            raise DataError(f"the {split} split is empty", where="catalog", remedy="Bring more people, or other splits")
    # Each clip counts as a subject, so that a person in two splits counts where each clip is.
    clips = [{**row, "subject_id": row["clip_id"]} for row in rows]
    missing = missing_classes(subjects_of(clips), split_of, "train")
    if missing:
        example = next(row["clip_id"] for row in rows if missing[0] in classes_of(row))
        raise DataError(
            f"no clip to learn {', '.join(missing)} from: no person in the train split has it",
            where="catalog",
            seen=f"for example {example} is in {split_of[example]}",
            remedy="Bring more people who have it, choose a taxonomy that merges it, or let subjects be dealt",
        )
