from __future__ import annotations

import pytest

from components.registry.evidence import RECORDED_TAG, Recorded

RENDERED = {"synthetic": True, "ravdess": False}


def row(dataset: str, subject: str, split: str = "train") -> dict[str, str]:
    return {"dataset": dataset, "subject_id": f"{dataset}/{subject}", "split": split}


@pytest.mark.parametrize(
    ("rows", "people"),
    [
        ([row("synthetic", "a"), row("synthetic", "b")], 0),
        ([row("synthetic", "a"), row("ravdess", "1", "test"), row("ravdess", "2", "calibration")], 0),
        ([row("synthetic", "a"), row("ravdess", "1"), row("ravdess", "1"), row("ravdess", "2")], 2),
        ([], 0),
    ],
    ids=["rendered alone", "recorded people only held out", "both", "nobody"],
)
def test_people_in_recordings_of_the_training_split_count(rows: list[dict[str, str]], people: int) -> None:
    assert Recorded.of(rows, RENDERED, wanted=1).people == people


def test_too_few_is_said_to_the_reviewer_who_may_still_promote_it() -> None:
    few = Recorded(people=0, wanted=1)
    assert not few.enough
    assert few.tags() == {
        RECORDED_TAG: "failed: trained on recordings of 0 people, wanted ≥ 1; it does not get the alias by itself, and "
        "a person may still promote it"
    }
    enough = Recorded(people=3, wanted=3)
    assert enough.enough
    assert enough.tags() == {RECORDED_TAG: "passed: trained on recordings of 3 people, wanted ≥ 3"}
    assert Recorded(people=0, wanted=0).enough
