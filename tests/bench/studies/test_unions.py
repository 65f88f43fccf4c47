from __future__ import annotations

from collections import Counter

import numpy as np

from bench.studies.unions import FOLDS, by_dataset, deals, only
from components.ablation.answers import ALL, Answers, FoldResult
from components.ablation.crossval import CatalogClips

# Two datasets, of eight people and of twelve, with two clips each.
ROWS = [
    {"clip_id": f"{dataset}/{who}/{clip}", "dataset": dataset, "subject_id": f"{dataset}/{who}"}
    for dataset, people in (("a", 8), ("b", 12))
    for who in range(people)
    for clip in range(2)
]
CORPUS = CatalogClips(rows=ROWS, examples={}, catalog={})
PERSON = {row["clip_id"]: row["subject_id"] for row in ROWS}


def test_everybody_is_tested_once_by_models_of_others_from_every_dataset() -> None:
    times: Counter[str] = Counter()
    for fold in deals(CORPUS, seed=3):
        of = {split: {PERSON[clip_id] for clip_id in fold.ids(split)} for split in ("train", "calibration", "test")}
        assert sum(len(people) for people in of.values()) == len(set.union(*of.values())) == 20
        for dataset, people in (("a", 8), ("b", 12)):
            shares = {split: sum(name.startswith(dataset) for name in own) for split, own in of.items()}
            assert shares == {"train": people // 2, "calibration": people // 4, "test": people // 4}
        times.update(of["test"])
        alone = only(fold, CORPUS, "a")
        assert alone.split_of == {clip: split for clip, split in fold.split_of.items() if clip.startswith("a/")}
    assert set(times.values()) == {1}
    assert len(times) == 20
    assert FOLDS == 4


def test_answers_are_parted_by_dataset() -> None:
    clips = ("a/0/0", "a/0/1", "b/3/0")
    answers = Answers(
        clips=clips,
        clip=np.array([0, 1, 2]),
        truth=np.array([0, 1, 1]),
        posterior={ALL: np.eye(2, dtype=np.float32)[[0, 1, 0]]},
        unimodal={},
    )
    samples = by_dataset(FoldResult(answers={("test", "clip"): answers}, prior={}, facts={}), CORPUS)
    assert {name: (sample.subjects, sample.truth.tolist()) for name, sample in samples.items()} == {
        "a": (["a/0", "a/0"], [0, 1]),
        "b": (["b/3"], [1]),
    }
