"""The expectations of the splits, as suites of `components/validation`, and the tables that they judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

from components.catalog.clips import Clips, Coded, Splits
from components.catalog.splits import SPLITS
from components.contracts.config import Catalog
from components.validation.expectation import Expectation, Suite


def split_suites(config: Catalog) -> tuple[Suite, Suite, Suite]:
    """The suites of `people_table`, `text_table` and `class_table`, in this order."""
    people = Expectation(
        name="one_split_a_person",
        kind="expect_column_values_to_be_between",
        arguments={"column": "num_splits", "min_value": 1, "max_value": 1},
        # The splits of a corpus are used as published; many have people in several of them.
        level="warning" if config.use_corpus_splits else "critical",
        says="Nobody is in more than one split",
        allowed="one split per person",
        remedy="Set catalog.use_corpus_splits: false to deal people anew; a score on people seen in training is memory",
    )
    texts = Expectation(
        name="one_split_a_text",
        kind="expect_column_values_to_be_between",
        arguments={"column": "num_splits", "min_value": 1, "max_value": 1},
        level="critical" if config.by_text else "warning",
        says="No text is spoken in more than one split",
        allowed="one split per text",
        remedy="Set catalog.by_text: true where there are enough texts; else report that texts recur",
    )
    learned = Expectation(
        name="every_class_can_be_learned",
        kind="expect_column_values_to_be_between",
        arguments={"column": "train", "min_value": 1},
        level="critical",
        says="Every class that occurs has clips to learn it from",
        allowed="at least 1 clip in train",
        remedy="Bring more people who have it, choose a taxonomy that merges it, or let subjects be dealt",
    )
    measured = [
        Expectation(
            name=f"every_class_is_in_{split}",
            kind="expect_column_values_to_be_between",
            arguments={"column": split, "min_value": 1},
            level="warning",
            says=f"Every class that occurs has clips in the {split} split",
            allowed=f"at least 1 clip in {split}",
            remedy=f"Bring more people who have it: without them there is no {of_class} of this class",
        )
        for split, of_class in (("calibration", "fitted confidence"), ("test", "figure"))
    ]
    return (
        Suite(name="people_of_splits", key="subject_id", expectations=(people,)),
        Suite(name="texts_of_splits", key="text_id", expectations=(texts,)),
        Suite(name="classes_of_splits", key="class", expectations=(learned, *measured)),
    )


def people_table(clips: Clips, split: Splits) -> pa.Table:
    """One row per person: `subject_id`, `splits` in words, `num_splits`."""
    return _named("subject_id", clips.people, split, words=sorted(SPLITS))


def text_table(clips: Clips, split: Splits) -> pa.Table:
    """One row per text: `text_id`, `splits` in words, `num_splits`; none where a corpus is not scripted."""
    return _named("text_id", clips.texts, split, words=SPLITS)


def class_table(splits: Mapping[str, Any], present: Sequence[str]) -> pa.Table:
    """One row per class that occurs: `class`, and its clips in each split."""
    counts = {split: [splits[split]["per_class"][name] for name in present] for split in SPLITS}
    columns = {split: pa.array(values, pa.int64()) for split, values in counts.items()}
    return pa.table({"class": pa.array(present, pa.string()), **columns})


def _named(key: str, column: Coded, split: Splits, *, words: Sequence[str]) -> pa.Table:
    """One row per name that has clips; its splits in the order of `words`."""
    has_clips = column.in_splits(split) > 0
    subsets = np.array(list(product([False, True], repeat=len(SPLITS))))
    in_words = [", ".join(word for word in words if subset[SPLITS.index(word)]) for subset in subsets]
    number = has_clips @ (1 << np.arange(len(SPLITS)))[::-1]
    there = number > 0
    return pa.table(
        {
            key: column.names.filter(there),
            "splits": pa.array(in_words, pa.string()).take(number[there]),
            "num_splits": has_clips[there].sum(1),
        }
    )
