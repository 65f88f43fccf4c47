from __future__ import annotations

from typing import Any

import pytest

from components.catalog.assign import assign, shared_subjects
from components.catalog.clips import Clips
from components.contracts.config import Catalog
from components.contracts.errors import DataError

LABELS = ("anger", "fear")


def rows(people: int = 6, labels: tuple[str, ...] = LABELS) -> list[dict[str, Any]]:
    return [
        {
            "clip_id": f"tiny/{person}-{label}",
            "dataset": "tiny",
            "subject_id": f"tiny/s{person}",
            "label": label,
            "segments": [],
            "groups": [("fold", str(person % 3 + 1))],
        }
        for person in range(people)
        for label in labels
    ]


def corpus(clips: list[dict[str, Any]], **said: str) -> dict[str, str | None]:
    """Clip id → the split its person has in `said`, by number."""
    return {row["clip_id"]: said.get("s" + row["subject_id"][-1]) for row in clips}


def assigned(rows: list[dict[str, Any]], said: dict[str, str | None], config: Catalog, seed: int) -> dict[str, str]:
    clips = Clips.of_rows(rows, said)
    return clips.named(assign(clips, config, seed))


def shared(rows: list[dict[str, Any]], said: dict[str, str | None], config: Catalog, seed: int) -> list[str]:
    clips = Clips.of_rows(rows, said)
    return shared_subjects(clips, assign(clips, config, seed))


PINNED = Catalog(use_corpus_splits=True)


def test_dealt_splits_ignore_what_the_corpus_says() -> None:
    clips = rows()
    said = corpus(clips, s0="test", s1="test", s2="test")
    assert assigned(clips, said, Catalog(), 1) == assigned(clips, {}, Catalog(), 1)


def test_the_corpus_own_splits_are_kept_under_their_many_names() -> None:
    clips = rows()
    said = corpus(clips, s0="train", s1="training", s2="dev", s3="val", s4="test", s5="test")
    split_of = assigned(clips, said, PINNED, 1)
    assert [split_of[f"tiny/{person}-fear"] for person in range(6)] == [
        *("train", "train", "calibration", "calibration", "test", "test")
    ]
    assert shared(clips, said, PINNED, 1) == []


def test_a_missing_calibration_split_comes_out_of_the_people_in_train() -> None:
    clips = rows()
    said = corpus(clips, s0="train", s1="train", s2="train", s3="train", s4="test", s5="test")
    split_of = assigned(clips, said, PINNED, 1)
    by_person = [split_of[f"tiny/{person}-fear"] for person in range(6)]
    assert sorted(by_person[:4]) == ["calibration", "train", "train", "train"]
    assert by_person[4:] == ["test", "test"]


def test_clips_without_a_split_follow_their_person_or_are_dealt() -> None:
    clips = rows()
    said = corpus(clips, s0="train", s1="calibration", s2="test")
    said["tiny/2-anger"] = None
    split_of = assigned(clips, said, PINNED, 1)
    assert split_of["tiny/2-anger"] == "test"
    assert sorted(split_of[f"tiny/{person}-fear"] for person in (3, 4, 5)) == ["calibration", "test", "train"]


def test_people_that_the_corpus_has_in_two_splits_are_named() -> None:
    clips = rows()
    said = corpus(clips, s0="train", s1="train", s2="dev", s3="dev", s4="test", s5="test")
    said["tiny/0-fear"] = "test"
    assert shared(clips, said, PINNED, 1) == ["tiny/s0"]


def test_an_unknown_split_name_is_refused_with_the_nearest() -> None:
    clips = rows()
    with pytest.raises(DataError, match="unknown split name") as caught:
        assigned(clips, corpus(clips, s0="tests"), PINNED, 1)
    assert "Did you mean 'test'?" in str(caught.value)


def test_a_class_that_is_only_tested_is_refused() -> None:
    clips = rows()
    said = corpus(clips, s0="train", s1="train", s2="dev", s3="dev", s4="test", s5="test")
    clips[-1]["label"] = "disgust"
    with pytest.raises(DataError, match="no clip to learn disgust from") as caught:
        assigned(clips, said, PINNED, 1)
    assert "tiny/5-fear is in test" in str(caught.value)


def test_a_corpus_without_a_test_split_is_refused() -> None:
    clips = rows()
    with pytest.raises(DataError, match="the test split is empty"):
        assigned(clips, {row["clip_id"]: "train" for row in clips}, PINNED, 1)


def test_published_folds_are_the_corpus_own() -> None:
    clips = rows()
    split_of = assigned(clips, {}, Catalog(folds="corpus", test_fold=2), 1)
    assert {person: split_of[f"tiny/{person}-fear"] for person in range(6)} == {
        **{0: "calibration", 3: "calibration"},
        **{1: "train", 4: "train"},
        **{2: "test", 5: "test"},
    }


def test_folds_that_are_not_there_are_refused() -> None:
    clips = rows()
    clips[3]["groups"] = []
    with pytest.raises(DataError, match="publish no folds"):
        assigned(clips, {}, Catalog(folds="corpus"), 1)
    clips = rows()
    clips[1]["groups"] = [("fold", "9")]
    with pytest.raises(DataError, match="one person is in two folds"):
        assigned(clips, {}, Catalog(folds="corpus"), 1)
    with pytest.raises(DataError, match="no such fold"):
        assigned(rows(), {}, Catalog(folds="corpus", test_fold=3), 1)


def test_every_person_is_tested_once_over_the_folds() -> None:
    clips = rows(people=7)
    tested = [
        clip_id
        for fold in range(3)
        for clip_id, split in assigned(clips, {}, Catalog(folds=3, test_fold=fold), 1).items()
        if split == "test"
    ]
    assert sorted(tested) == sorted(row["clip_id"] for row in clips)
