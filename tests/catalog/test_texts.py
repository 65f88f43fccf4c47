from __future__ import annotations

from typing import Any

import pytest

from components.catalog.assign import assign
from components.catalog.clips import Clips
from components.catalog.texts import keep_texts_apart, shared_texts
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


def assigned(rows: list[dict[str, Any]], config: Catalog, seed: int = 7) -> dict[str, str]:
    clips = Clips.of_rows(rows, {})
    return clips.named(assign(clips, config, seed))


def kept_apart(rows: list[dict[str, Any]], seed: int = 7) -> dict[str, str]:
    """What is left of the clips when people are dealt, and then texts."""
    clips = Clips.of_rows(rows, {})
    return clips.named(keep_texts_apart(clips, assign(clips, Catalog(), seed), FRACTIONS, seed))


def splits_of_texts(rows: list[dict[str, Any]], split_of: dict[str, str]) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row["text_id"] is not None and row["clip_id"] in split_of:
            splits.setdefault(row["text_id"], set()).add(split_of[row["clip_id"]])
    return splits


def test_a_scripted_corpus_shares_every_text_and_says_so() -> None:
    clips = Clips.of_rows(scripted(), {})
    found = shared_texts(clips, assign(clips, Catalog(), 7))
    assert len(found) == 10
    assert found["tiny/t3"] == {"train": 12, "calibration": 4, "test": 4}


def test_texts_kept_apart_cost_the_clips_that_cross_and_no_others() -> None:
    rows = scripted()
    people = assigned(rows, Catalog())
    kept = assigned(rows, Catalog(by_text=True))
    assert all(len(splits) == 1 for splits in splits_of_texts(rows, kept).values())
    assert all(kept[clip_id] == people[clip_id] for clip_id in kept)  # nobody moves
    # 60 % of the people say 60 % of the texts, and so on: 0.36 + 0.04 + 0.04.
    assert len(kept) == pytest.approx(0.44 * len(rows))
    assert set(kept.values()) == set(FRACTIONS)
    assert assigned(rows[::-1], Catalog(by_text=True)) == kept


def test_what_crosses_nothing_stays() -> None:
    """Each person with a text of their own, and clips without a text."""
    rows = scripted(people=9, texts=3)
    for row in rows:
        row["text_id"] = None if row["label"] == "fear" else f"tiny/of-{row['subject_id']}"
    assert kept_apart(rows) == assigned(rows, Catalog())


def test_two_shared_texts_go_to_the_splits_that_have_nothing_else() -> None:
    rows = scripted(people=9, texts=2)
    people = assigned(rows, Catalog())
    for row in rows:
        if people[row["clip_id"]] == "train" and row["label"] == "fear":
            row["text_id"] = None
    kept = kept_apart(rows)
    assert set(kept.values()) == set(FRACTIONS)
    assert all(len(splits) == 1 for splits in splits_of_texts(rows, kept).values())


def test_fewer_texts_than_splits_cannot_be_kept_apart() -> None:
    rows = scripted(texts=2)
    with pytest.raises(DataError, match="too few texts") as caught:
        assigned(rows, Catalog(by_text=True))
    assert "tiny/t0, tiny/t1" in str(caught.value)
    assert "one each for train, calibration, test" in str(caught.value)
    assert "catalog.by_text: false" in str(caught.value)


def test_a_class_that_is_said_in_a_tested_text_only_is_refused() -> None:
    """Each mood has texts of its own, and those of one end up in the test."""
    rows = [row for row in scripted(texts=4) if (row["label"] == "fear") == (row["text_id"] == "tiny/t0")]
    for seed in range(12):
        kept = kept_apart(rows, seed)
        learned = {row["label"] for row in rows if kept.get(row["clip_id"]) == "train"}
        if learned == {"anger", "fear"}:
            assert assigned(rows, Catalog(by_text=True), seed) == kept
        else:
            with pytest.raises(DataError, match="no clip to learn fear from"):
                assigned(rows, Catalog(by_text=True), seed)
            return
    pytest.fail("fear has one text of four, so some deal keeps it out of train")
