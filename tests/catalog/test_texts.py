from __future__ import annotations

from typing import Any

import pytest

from components.catalog.assign import assign
from components.catalog.texts import keep_texts_apart, splits_of_texts
from components.contracts.config import Catalog
from components.contracts.errors import DataError

FRACTIONS = {"train": 0.6, "calibration": 0.2, "test": 0.2}


def scripted(*, people: int = 10, texts: int = 10) -> list[dict[str, Any]]:
    """Everybody says everything, in both moods."""
    return [
        {
            "clip_id": f"tiny/{person}-{text}-{label}",
            "dataset": "tiny",
            "subject_id": f"tiny/s{person}",
            "text_id": f"tiny/t{text}",
            "label": label,
            "segments": [],
            "groups": [],
        }
        for person in range(people)
        for text in range(texts)
        for label in ("anger", "fear")
    ]


def by_person(rows: list[dict[str, Any]]) -> dict[str, str]:
    return assign(rows, {}, Catalog(), 7)


def test_a_scripted_corpus_shares_every_text_and_says_so() -> None:
    rows = scripted()
    found = splits_of_texts(rows, by_person(rows))
    assert len(found) == 10
    assert found["tiny/t3"] == {"train": 12, "calibration": 4, "test": 4}


def test_texts_kept_apart_cost_the_clips_that_cross_and_no_others() -> None:
    rows = scripted()
    people = by_person(rows)
    kept = assign(rows, {}, Catalog(by_text=True), 7)
    left = [row for row in rows if row["clip_id"] in kept]
    assert all(len(splits) == 1 for splits in splits_of_texts(left, kept).values())
    assert all(kept[clip_id] == people[clip_id] for clip_id in kept)  # nobody moves
    # 60 % of the people say 60 % of the texts, and so on: 0.36 + 0.04 + 0.04.
    assert len(kept) == pytest.approx(0.44 * len(rows))
    assert set(kept.values()) == set(FRACTIONS)
    assert assign(rows[::-1], {}, Catalog(by_text=True), 7) == kept


def test_what_crosses_nothing_stays() -> None:
    """Each person with a text of their own, and clips without a text."""
    rows = scripted(people=9, texts=3)
    for row in rows:
        row["text_id"] = None if row["label"] == "fear" else f"tiny/of-{row['subject_id']}"
    people = by_person(rows)
    assert keep_texts_apart(rows, people, FRACTIONS, 7) == people


def test_two_shared_texts_go_to_the_splits_that_have_nothing_else() -> None:
    rows = scripted(people=9, texts=2)
    people = by_person(rows)
    for row in rows:
        if people[row["clip_id"]] == "train" and row["label"] == "fear":
            row["text_id"] = None
    kept = keep_texts_apart(rows, people, FRACTIONS, 7)
    assert set(kept.values()) == set(FRACTIONS)
    left = [row for row in rows if row["clip_id"] in kept]
    assert all(len(splits) == 1 for splits in splits_of_texts(left, kept).values())


def test_fewer_texts_than_splits_cannot_be_kept_apart() -> None:
    rows = scripted(texts=2)
    with pytest.raises(DataError, match="too few texts") as caught:
        assign(rows, {}, Catalog(by_text=True), 7)
    assert "tiny/t0, tiny/t1" in str(caught.value)
    assert "one each for train, calibration, test" in str(caught.value)
    assert "catalog.by_text: false" in str(caught.value)


def test_a_class_that_is_said_in_a_tested_text_only_is_refused() -> None:
    """Each mood has texts of its own, and those of one end up in the test."""
    rows = [row for row in scripted(texts=4) if (row["label"] == "fear") == (row["text_id"] == "tiny/t0")]
    for seed in range(12):
        people = assign(rows, {}, Catalog(), seed)
        kept = keep_texts_apart(rows, people, FRACTIONS, seed)
        learned = {row["label"] for row in rows if kept.get(row["clip_id"]) == "train"}
        if learned == {"anger", "fear"}:
            assert assign(rows, {}, Catalog(by_text=True), seed) == kept
        else:
            with pytest.raises(DataError, match="no clip to learn fear from"):
                assign(rows, {}, Catalog(by_text=True), seed)
            return
    pytest.fail("fear has one text of four, so some deal keeps it out of train")
