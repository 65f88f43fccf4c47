"""DVC's differences by cause, each with its evidence, from records as `dvc.lock` and `data/inputs` hold them."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.dag import Difference
from pipelines.retraining.changes import SETTINGS, VERSIONS, name_changes

INPUT = "data/inputs/ravdess.json"
LOCK: dict[str, Any] = {
    "datasets@ravdess": {"deps": [{"path": INPUT, "md5": "aa11"}], "params": {VERSIONS: {"DATASETS": 8}}},
    "catalog": {},
    "train": {"params": {SETTINGS: {"train": {"epochs": 20, "refit": True}, "seed": 7}}},
}
FILES = {"count": 3, "bytes": 30, "fingerprint": "f"}
BEFORE: dict[str, Any] = {"options": {"root": "/r"}, "files": {"/r": FILES}, "withdrawn": []}
RECORDINGS, TEXTS = {"count": 2, "fingerprint": "r"}, {"count": 1, "fingerprint": "t"}
APART = {**FILES, "recordings": RECORDINGS, "texts": TEXTS}


def causes(difference: Difference, *, before: Any = None, now: Any = None) -> list[str]:
    evidence = name_changes(
        [difference, difference],
        LOCK,
        before={"aa11": before}.get,
        now=lambda path: now,
        outputs=["data/trained", "data/validated/ravdess"],
    )
    return [str(entry) for entry in evidence]


def differs(address: str, path: str = "", *, state: str = "modified", **more: Any) -> Difference:
    return Difference(address=address, path=path, state=state, **more)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/r": {**FILES, "count": 5, "fingerprint": "g"}}, ["data: ravdess: 3 → 5 recordings"]),
        ({"/r": {**FILES, "fingerprint": "g"}}, ["data: ravdess: 3 → 3 recordings, other contents"]),
        (
            {"/r": FILES, "/extra": APART},
            ["data: ravdess: 0 → 2 recordings", "labels: ravdess: 0 → 1 files of labels and words"],
        ),
        ({}, ["data: ravdess: 3 → 0 recordings"]),
    ],
)
def test_a_corpus_that_changed(files: dict[str, Any], expected: list[str]) -> None:
    assert causes(differs("datasets@ravdess", INPUT), before=BEFORE, now={**BEFORE, "files": files}) == expected


def test_labels_that_arrived_are_not_recordings() -> None:
    before = {**BEFORE, "files": {"/r": APART}}
    now = {**BEFORE, "files": {"/r": {**APART, "texts": {"count": 1, "fingerprint": "u"}}}}
    expected = ["labels: ravdess: 1 → 1 files of labels and words, other contents"]
    assert causes(differs("datasets@ravdess", INPUT), before=before, now=now) == expected


def test_people_who_withdrew_and_options() -> None:
    now = {**BEFORE, "withdrawn": [["s", "h"], ["t", "i"]], "options": {"root": "/r", "channels": ["song"]}}
    assert causes(differs("datasets@ravdess", INPUT), before=BEFORE, now=now) == [
        "withdrawal: ravdess: 2 more have withdrawn",
        "parameters: ravdess.channels None → ['song']",
    ]


@pytest.mark.parametrize(
    ("difference", "now", "expected"),
    [
        (differs("datasets@ravdess", INPUT), BEFORE, ["data: ravdess: changed"]),  # the cache lacks the earlier state
        (
            differs("train", SETTINGS, key="train"),
            {"train": {"epochs": 60, "refit": True}},
            ["parameters: train.epochs 20 → 60"],
        ),
        (differs("train", SETTINGS, key="seed"), {"seed": 8}, ["parameters: seed 7 → 8"]),
        (
            differs("datasets@ravdess", VERSIONS, key="DATASETS"),
            "ALIGNMENT = 5\nDATASETS = 9  # why\n",
            ["code: the version of datasets@ravdess, DATASETS 8 → 9"],
        ),
        (differs("train", state="changed command"), None, ["code: train: changed command"]),
        (differs("datasets@emodb", "data/inputs/emodb.json", state="new"), None, ["data: dataset emodb is new"]),
        (differs("evaluate", "data/trained", state="new"), None, ["unfinished: evaluate has not run"]),
        (differs("catalog", "data/validated"), None, ["unfinished: catalog has not run on the present data/validated"]),
        (
            differs("train", "data/trained", is_output=True),
            None,
            ["unfinished: data/trained is not what its stage wrote"],
        ),
        (differs("train", "data/inputs/start"), None, ["parameters: the version that training starts from"]),
        (differs("train", "data/inputs/baselines/ravdess.json"), None, ["data: ravdess: a baseline was accepted"]),
        (differs("catalog", "data/validated", state="deleted"), None, []),
        (differs("train", "data/trained", state="not in cache", is_output=True), None, []),
    ],
)
def test_every_other_difference_has_a_cause(difference: Difference, now: Any, expected: list[str]) -> None:
    assert causes(difference, now=now) == expected


def test_many_settings_are_counted() -> None:
    now = {"train": dict.fromkeys("abcdef", 1)}
    (evidence,) = causes(differs("train", SETTINGS, key="train"), now=now)
    assert evidence.startswith("parameters: train.a None → 1, ")
    assert evidence.endswith(" and 4 more")


def test_without_a_lock_it_is_the_first_training() -> None:
    (evidence,) = name_changes([], {}, before=lambda _: None, now=lambda _: None, outputs=[])
    assert str(evidence) == "first: nothing was trained here before (no dvc.lock)"
