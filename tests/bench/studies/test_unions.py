from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.studies.few_people import pooled
from bench.studies.unions import ALONE, EVEN, FOLDS, UNION, by_dataset, deals, lean, only, units
from components.ablation.answers import ALL, Answers, FoldResult
from components.ablation.crossval import CatalogClips
from components.contracts.config import Params
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, paired
from components.model import scores

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


def test_a_person_who_is_tested_under_several_seeds_is_one_person() -> None:
    def sample(people: list[str], answers: list[int]) -> Sample:
        return Sample(
            subjects=people, truth=np.zeros(len(people), dtype=np.int64), posterior=np.eye(2, dtype=np.float32)[answers]
        )

    # Anna is tested twice by the first, and her answers differ; the others once.
    union = pooled([sample(["anna", "ben"], [0, 0]), sample(["cleo", "anna"], [0, 1])])
    alone = pooled([sample(["anna", "ben"], [0, 1]), sample(["cleo", "anna"], [1, 1])])
    assert union.confusion_by_subject()[:, 0].tolist() == [[1, 1], [1, 0], [1, 0]]
    gain = paired(union, alone, bootstrap=Bootstrap(seed=1), statistic=scores.accuracy)
    assert gain.value == pytest.approx(0.5)
    # A draw has both of Anna's answers or neither: three times Anna gains nothing, three times Ben everything.
    assert (gain.low, gain.high) == (0.0, 1.0)


def test_what_is_trained_for_a_fold_and_what_it_leaves_out() -> None:
    params = Params.model_validate({"model": {"clip_head": "statistics"}})
    fold = next(iter(deals(CORPUS, seed=3)))
    made = units(params, CORPUS, "voice", fold, 3, even=True)
    assert list(made) == [f"{ALONE} a", f"{ALONE} b", UNION, EVEN]
    assert [unit.params.train.dataset_power for unit in made.values()] == [1.0, 1.0, 1.0, 0.0]
    assert {unit.params.model.tcn_blocks for unit in made.values()} == {0}
    assert {unit.params.train.unimodal_loss for unit in made.values()} == {0.0}
    both = Params.model_validate({"model": {"clip_head": "all"}})
    assert lean(both, {}).model == both.model
    assert lean(both, {}).train.step_loss == both.train.step_loss
