from __future__ import annotations

import numpy as np

from components.evaluation.subsets import clip_sample, patterns, sample_of, score_subsets, step_sample
from components.inference.calibration import Calibration
from components.inference.scoring import Scorer
from tests.evaluation.made import make_split, trained_model


def test_every_pattern_once_all_first() -> None:
    assert patterns(["a", "b", "c"]) == [("a", "b", "c"), ("a", "b"), ("a", "c"), ("b", "c"), ("a",), ("b",), ("c",)]
    assert patterns(["a"]) == [("a",)]
    many = patterns(list("abcdefgh"))
    assert len(many) == 1 + 8 + 8
    assert {len(pattern) for pattern in many} == {8, 7, 1}


def test_a_pattern_holds_the_clips_that_have_one_of_its_modalities() -> None:
    cases = make_split("test", 5)
    scorer = Scorer(trained_model(), Calibration())
    found = {subset.name: subset for subset in score_subsets(scorer, cases, ("face", "voice"))}
    assert set(found) == {"face+voice", "face", "voice"}
    assert len(found["face+voice"].cases) == len(found["face"].cases) == len(cases)
    assert len(found["voice"].cases) == sum("voice" in case.present for case in cases) < len(cases)
    lone = next(i for i, case in enumerate(cases) if case.present == ("face",))
    np.testing.assert_array_equal(
        found["face+voice"].scored[lone].clip_posterior, found["face"].scored[lone].clip_posterior
    )


def test_samples_hold_labelled_clips_and_steps_only() -> None:
    from dataclasses import replace

    case = make_split("test", 5)[0]
    labels = case.step_labels.copy()
    labels[:10] = -100
    masks = {"face": case.masks["face"].copy(), "voice": case.masks["voice"]}
    masks["face"][20:] = False
    case = replace(case, step_labels=labels, masks=masks)
    unlabelled = replace(case, clip_label=-100, step_labels=np.full(30, -100))
    posteriors = [np.full((30, 4), 0.25)] * 2
    steps = step_sample([case, unlabelled], posteriors, ["face"])
    assert steps is not None
    assert steps.size == 10
    clips = clip_sample([case, unlabelled], [np.full(4, 0.25)] * 2)
    assert clips is not None
    assert clips.size == 1
    assert clip_sample([unlabelled], [np.full(4, 0.25)]) is None
    assert step_sample([unlabelled], [np.full((30, 4), 0.25)], ["face"]) is None


def test_a_level_is_chosen_by_name() -> None:
    scorer = Scorer(trained_model(), Calibration())
    subset = score_subsets(scorer, make_split("test", 5)[:3], ("face", "voice"))[0]
    assert sample_of(subset, "clip").size == 3  # type: ignore[union-attr]
    assert sample_of(subset, "step").size == 90  # type: ignore[union-attr]
