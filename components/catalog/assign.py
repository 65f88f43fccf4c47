"""Assigns a split to every clip as configured: dealt, by folds, or as published by the corpus."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.catalog.clips import FOLD_GROUP, OUT, Clips, Splits
from components.catalog.splits import SPLITS, deal, folds, splits_of_folds
from components.catalog.texts import keep_texts_apart
from components.contracts.config import Catalog
from components.contracts.errors import DataError, nearest
from components.contracts.splits import CORPUS_SPLITS


def assign(clips: Clips, config: Catalog, seed: int) -> Splits:
    """The split of each clip; `OUT` for those that `catalog.by_text` leaves out.

    Args:
        clips: those of the catalog.
        config: the section `catalog`.
        seed: of the deal.

    Raises:
        DataError: too few subjects, or texts; an unknown split name; no folds where they are configured; a
            class that would be tested and cannot be learned.
    """
    if config.folds is not None:
        split = _by_folds(clips, config, seed)
    elif config.use_corpus_splits:
        split = published_splits(clips, config, seed)
    else:
        split = _dealt(clips, _fractions(config), seed)
    split = without_shared_texts(clips, split, config, seed)
    _check(clips, split)
    return split


def without_shared_texts(clips: Clips, split: Splits, config: Catalog, seed: int) -> Splits:
    """The split of each clip that remains when texts are kept apart too; of all, without `catalog.by_text`.

    Raises:
        DataError: there are too few texts.
    """
    return keep_texts_apart(clips, split, _fractions(config), seed) if config.by_text else split


def shared_subjects(clips: Clips, split: Splits) -> list[str]:
    """Subjects in more than one split, sorted; only the splits of a corpus can have any."""
    shared: list[str] = clips.people.names.filter((clips.people.in_splits(split) > 0).sum(1) > 1).to_pylist()
    return shared


def _fractions(config: Catalog) -> dict[str, float]:
    return {"train": config.train, "calibration": config.calibration, "test": config.test}


def _dealt(clips: Clips, fractions: Mapping[str, float], seed: int) -> Splits:
    return clips.split_by_person(deal(clips.subjects(), fractions, seed))


def _by_folds(clips: Clips, config: Catalog, seed: int) -> Splits:
    number = config.folds
    fold_of = folds(clips.subjects(), number, seed) if isinstance(number, int) else corpus_folds(clips)
    return clips.split_by_person(splits_of_folds(fold_of, config.test_fold))


def corpus_folds(clips: Clips) -> dict[str, int]:
    """Subject id → fold, as published by the corpora, counted from 0 in the order of their names.

    Raises:
        DataError: a corpus has a clip without the group `fold`, or a person is in two.
    """
    without = np.unique(clips.datasets.codes[clips.folds.codes < 0])
    if without.size:
        raise DataError(
            "these corpora publish no folds",
            where="catalog.folds",
            seen=", ".join(clips.datasets.names.take(without).to_pylist()),
            allowed=f"a group {FOLD_GROUP!r} on every clip",
            remedy="Set catalog.folds to a number, or use catalog.use_corpus_splits where they publish splits",
        )
    people, firsts, person = np.unique(clips.people.codes, return_index=True, return_inverse=True)
    names, subjects = clips.folds.names.to_pylist(), clips.people.names.take(people).to_pylist()
    fold_of_person = clips.folds.codes[firsts]
    elsewhere = np.flatnonzero(clips.folds.codes != fold_of_person[person])
    if elsewhere.size:
        at = person[elsewhere[0]]
        raise DataError(
            "one person is in two folds",
            where=subjects[at],
            seen=f"{names[fold_of_person[at]]}, {names[clips.folds.codes[elsewhere[0]]]}",
            remedy="Set catalog.folds to a number",
        )
    _, numbers = np.unique(fold_of_person, return_inverse=True)
    return dict(zip(subjects, numbers.tolist(), strict=True))


def published_splits(clips: Clips, config: Catalog, seed: int) -> Splits:
    """The split of each clip, as the corpora publish it. Subjects without one are dealt; a missing calibration split is
    dealt from the people in train.

    Raises:
        DataError: an unknown split name.
    """
    names, published = clips.published.names.to_pylist(), clips.published.codes
    places = [SPLITS.index(CORPUS_SPLITS[name]) if name in CORPUS_SPLITS else OUT for name in names]
    # One more, for clips without a published split (-1).
    split = np.array([*places, OUT], dtype=np.int8)[published]
    unknown = np.flatnonzero((published >= 0) & (split == OUT))
    if unknown.size:
        name = names[published[unknown[0]]]
        raise DataError(
            "unknown split name",
            where=clips.ids[int(unknown[0])].as_py(),
            seen=name,
            allowed=", ".join(CORPUS_SPLITS),
            remedy=nearest(name, CORPUS_SPLITS) or "Map it in the adapter",
        )
    people, firsts = np.unique(clips.people.codes[split != OUT], return_index=True)
    of_person = np.full(len(clips.people.names), OUT, dtype=np.int8)
    of_person[people] = split[split != OUT][firsts]
    split = np.where(split == OUT, of_person[clips.people.codes], split)
    free = split == OUT
    if free.any():
        split[free] = _dealt(clips[free], _fractions(config), seed)
    if not (split == SPLITS.index("calibration")).any():
        both = config.train + config.calibration
        train = split == SPLITS.index("train")
        shares = {"train": config.train / both, "calibration": config.calibration / both}
        split[train] = _dealt(clips[train], shares, seed)
    return split


def _check(clips: Clips, split: Splits) -> None:
    for place, name in enumerate(SPLITS):
        if not (split == place).any():
            raise DataError(f"the {name} split is empty", where="catalog", remedy="Bring more people, or other splits")
    occurs = clips.shown[split != OUT].any(0)
    missing = np.flatnonzero(occurs & ~clips.shown[split == SPLITS.index("train")].any(0))
    if missing.size:
        example = int(np.flatnonzero(clips.shown[:, missing[0]] & (split != OUT))[0])
        raise DataError(
            f"no clip to learn {', '.join(clips.classes[place] for place in missing)} from: "
            "no person in the train split has it",
            where="catalog",
            seen=f"for example {clips.ids[example].as_py()} is in {SPLITS[split[example]]}",
            remedy="Bring more people who have it, choose a taxonomy that merges it, or let subjects be dealt",
        )
