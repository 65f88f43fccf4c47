from __future__ import annotations

from typing import Any

import numpy as np

from components.catalog.clips import OUT, Clips, split_summary


def row(clip_id: str, dataset: str, person: str, label: str | None, *segments: str) -> dict[str, Any]:
    spans = [{"start_s": 0.0, "end_s": 1.0, "label": name} for name in segments]
    return {"clip_id": clip_id, "dataset": dataset, "subject_id": person, "label": label, "segments": spans}


ROWS = [
    row("a", "x", "q", "anger", "anger", "fear", "fear"),
    row("b", "y", "p", "anger"),
    row("c", "x", "q", None, "fear"),
    row("d", "x", "r", "joy"),
]
CLIPS = Clips.of_rows(ROWS, {"b": "test"})


def test_subjects_have_their_datasets_and_the_clips_in_which_each_class_occurs() -> None:
    people = [(one.subject_id, one.datasets, one.clips_per_class) for one in CLIPS.subjects()]
    assert people == [
        ("p", ("y",), {"anger": 1}),
        ("q", ("x",), {"anger": 1, "fear": 2}),
        ("r", ("x",), {"joy": 1}),
    ]
    some = CLIPS[np.array([True, False, True, False])]
    assert [(one.subject_id, one.clips_per_class) for one in some.subjects()] == [("q", {"anger": 1, "fear": 2})]
    assert (len(some), some.ids.to_pylist(), some.present) == (2, ["a", "c"], ["anger", "fear"])


def test_a_clip_has_the_split_of_its_person() -> None:
    split = CLIPS.split_by_person({"q": "test", "p": "train"})
    assert split.tolist() == [2, 0, 2, OUT]
    assert CLIPS.named(split) == {"a": "test", "b": "train", "c": "test"}
    assert CLIPS.people.in_splits(split).tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]


def test_the_summary_counts_clips_and_people_by_class() -> None:
    summary = split_summary(CLIPS, CLIPS.split_by_person({"q": "test", "p": "train"}), ("anger", "fear", "never"))
    assert summary == {
        "train": {"clips": 1, "subjects": 1, "per_class": {"anger": 1, "fear": 0, "never": 0}},
        "calibration": {"clips": 0, "subjects": 0, "per_class": {"anger": 0, "fear": 0, "never": 0}},
        "test": {"clips": 2, "subjects": 1, "per_class": {"anger": 1, "fear": 2, "never": 0}},
    }
