from __future__ import annotations

import json

from components.registry.subjects import list_subjects, splits_by_person

ROWS = [
    {"subject_id": "tiny/ann", "split": "train"},
    {"subject_id": "tiny/ann", "split": "train"},
    {"subject_id": "tiny/bo", "split": "train"},
    {"subject_id": "tiny/bo", "split": "test"},
    {"subject_id": "tiny/cy", "split": "calibration"},
]


def test_a_list_has_the_splits_of_a_person_and_no_names() -> None:
    listed = list_subjects(ROWS, salt="s")
    assert {name: len(hashes) for name, hashes in listed["splits"].items()} == {"calibration": 1, "test": 1, "train": 2}
    assert "ann" not in json.dumps(listed)
    [(short, splits)] = splits_by_person(listed, ["tiny/bo"]).items()
    assert splits == ("test", "train")
    assert any(digest.startswith(short) for digest in listed["splits"]["test"])
    assert splits_by_person(listed, ["tiny/dee", "ann"]) == {}


def test_lists_of_different_catalogs_cannot_be_compared() -> None:
    first, second = list_subjects(ROWS, salt="a"), list_subjects(ROWS, salt="b")
    assert set(first["splits"]["train"]).isdisjoint(second["splits"]["train"])
    assert list_subjects(list(reversed(ROWS)), salt="a") == first
