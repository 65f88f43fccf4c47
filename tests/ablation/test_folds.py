from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from components.ablation.folds import alone, make_folds
from components.catalog.clips import Clips
from components.contracts.config import Catalog
from components.contracts.errors import DataError


def rows(dataset: str, people: int, *, clips: int = 2, label: str = "anger") -> list[dict[str, Any]]:
    return [
        {
            "clip_id": f"{dataset}/{person}-{clip}",
            "dataset": dataset,
            "subject_id": f"{dataset}/s{person}",
            "label": label if clip else "neutral",
            "segments": [],
            "groups": [("fold", str(person % 3))],
            "text_id": f"{dataset}/t{clip}",
            "split": "test",
        }
        for person in range(people)
        for clip in range(clips)
    ]


@pytest.mark.parametrize("kind", [5, "corpus"])
def test_every_clip_is_tested_once_by_a_model_that_never_saw_its_person(kind: Any) -> None:
    table = rows("one", 9) + rows("two", 6)
    subject = {row["clip_id"]: row["subject_id"] for row in table}
    found = make_folds(Clips.of_rows(table, {}), kind, seed=0)
    assert len(found) == (5 if kind == 5 else 3)
    assert Counter(clip for fold in found for clip in fold.ids("test")) == Counter(subject.keys())
    for fold in found:
        people = [{subject[clip] for clip in fold.ids(split)} for split in ("train", "calibration", "test")]
        assert all(people)
        assert sum(map(len, people)) == len(set().union(*people))


def test_a_dataset_is_tested_by_what_learned_from_the_others() -> None:
    both = [{**rows("one", 1)[0], "clip_id": f"{name}/both", "dataset": name, "subject_id": "both"} for name in ("one", "two")]  # fmt: skip # noqa: E501
    table = [*rows("one", 6), *rows("two", 6), *both]
    first, second = make_folds(Clips.of_rows(table, {}), "dataset", seed=0)
    assert (first.name, second.name) == ("one", "two")
    assert set(first.ids("test")) == {row["clip_id"] for row in table if row["dataset"] == "one"}
    assert all(clip.startswith("two/") for clip in first.ids("train") + first.ids("calibration"))
    # The person of the tested clip has one in the other dataset too: it may not be learned.
    assert "two/both" not in first.split_of
    assert "two/both" in second.ids("test")
    with pytest.raises(DataError, match="there must be two"):
        make_folds(Clips.of_rows(rows("one", 6), {}), "dataset", seed=0)


def test_what_is_tested_and_was_not_taught_is_named() -> None:
    first, second = make_folds(Clips.of_rows([*rows("one", 6, label="fear"), *rows("two", 6)], {}), "dataset", seed=0)
    assert first.unlearned == ("fear",)
    assert second.unlearned == ("anger",)


@pytest.mark.parametrize("kind", [5, "corpus", "dataset"])
def test_texts_are_apart_in_every_fold_where_the_catalog_keeps_them_apart(kind: Any) -> None:
    """Everybody says everything, in both datasets; one text is one person's own, and some clips have none."""
    table = rows("one", 15, clips=10) + rows("two", 15, clips=10)
    for row in table:
        row["text_id"] = f"t{row['clip_id'].partition('-')[2]}"
        row["label"] = "anger" if row["clip_id"].startswith("one/3-") else "neutral"
    table[7]["text_id"] = "of one person"
    table[8]["text_id"] = table[158]["text_id"] = None
    people = make_folds(Clips.of_rows(table, {}), kind, seed=0)
    found = make_folds(Clips.of_rows(table, {}), kind, seed=0, config=Catalog(by_text=True))
    assert [fold.name for fold in found] == [fold.name for fold in people]
    text = {row["clip_id"]: row["text_id"] for row in table}
    for fold, before in zip(found, people, strict=True):
        spoken = [{text[clip] for clip in fold.ids(split)} - {None} for split in ("train", "calibration", "test")]
        assert all(spoken)
        assert sum(map(len, spoken)) == len(set().union(*spoken)) == 11
        # Nobody moves; what crosses nothing stays.
        assert fold.split_of.items() < before.split_of.items()
        assert {table[7]["clip_id"], table[8]["clip_id"], table[158]["clip_id"]} & before.split_of.keys() <= (
            fold.split_of.keys()
        )


def test_texts_that_are_too_few_for_a_fold_are_refused() -> None:
    with pytest.raises(DataError, match="too few texts"):
        make_folds(Clips.of_rows(rows("one", 9), {}), 3, seed=0, config=Catalog(by_text=True))


def test_a_corpus_with_a_test_split_of_its_own_is_one_fold() -> None:
    table = [{**row, "groups": []} for row in rows("one", 9)]
    own = {row["clip_id"]: "test" if int(row["subject_id"][-1]) < 3 else "train" for row in table}
    [fold] = make_folds(Clips.of_rows(table, own), "corpus", seed=0)
    assert fold.name == "test split"
    assert fold.ids("test") == sorted(clip for clip, split in own.items() if split == "test")
    assert fold.ids("calibration")
    # Folds go first where a corpus has both.
    assert len(make_folds(Clips.of_rows(rows("one", 9), own), "corpus", seed=0)) == 3


def test_corpora_that_publish_nothing_in_common_are_named() -> None:
    table = [*rows("one", 9), *({**row, "groups": []} for row in [*rows("two", 6), *rows("six", 6)])]
    own = {row["clip_id"]: "test" for row in table if row["dataset"] == "two"}
    with pytest.raises(DataError, match="one: folds; six: neither; two: test split"):
        make_folds(Clips.of_rows(table, own), "corpus", seed=0)


def test_a_dataset_alone_is_learned_and_everybody_else_is_tested() -> None:
    both = [{**rows("one", 1)[0], "clip_id": f"{name}/both", "dataset": name, "subject_id": "both"} for name in ("one", "two")]  # fmt: skip # noqa: E501
    table = [*rows("one", 9), *rows("two", 4), *both]
    for seed in range(5):
        fold = alone(Clips.of_rows(table, {}), "one", seed)
        assert fold.adapts
        ids = {split: fold.ids(split) for split in ("train", "calibration", "test")}
        assert all(clip.startswith("one/") for clip in ids["train"] + ids["calibration"])
        assert {row["clip_id"] for row in rows("two", 4)} < set(ids["test"])
        assert any(clip.startswith("one/") for clip in ids["test"])
        # Whoever is learned from is not tested in the other dataset.
        assert ("two/both" in ids["test"]) == ("one/both" in ids["test"])
    with pytest.raises(DataError, match="too few subjects"):
        alone(Clips.of_rows(rows("one", 2) + rows("two", 6), {}), "one", 0)
