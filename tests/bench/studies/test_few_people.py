from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.studies.few_people import CALIBRATE, FOLDS, deals, pooled
from components.ablation.crossval import CatalogClips
from components.evaluation.measure import Sample


@pytest.mark.parametrize("people", [1, 2, 6])
def test_everybody_is_tested_once_by_models_of_others(people: int) -> None:
    rows = [{"clip_id": f"{who}/{clip}", "subject_id": f"p{who}"} for who in range(10) for clip in range(3)]
    corpus = CatalogClips(rows=rows, examples={}, catalog={})
    person = {row["clip_id"]: row["subject_id"] for row in rows}
    tested: list[str] = []
    for fold in deals(corpus, people, seed=3):
        of = {split: {person[clip_id] for clip_id in fold.ids(split)} for split in ("train", "calibration", "test")}
        assert {split: len(who) for split, who in of.items()} == {"train": people, "calibration": CALIBRATE, "test": 2}
        assert len(set.union(*of.values())) == people + CALIBRATE + 2
        tested += of["test"]
    assert len(tested) == 2 * FOLDS
    assert set(Counter(tested).values()) == {1}


def test_samples_are_put_together() -> None:
    one = Sample(subjects=["a", "b"], truth=np.array([0, 1]), posterior=np.eye(2))
    both = pooled([one, one])
    assert both.size == 4
    assert both.subjects == ["a", "b", "a", "b"]
