from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from components.catalog.cases import Case
from components.contracts.config import Evaluate, Gates, Train
from components.evaluation.evaluate import Evaluation, Splits, evaluate
from components.evaluation.objectives import OBJECTIVES, Objective, shift_for
from components.evaluation.pages.report import AIMS
from components.inference.calibration import Calibration, Shift
from components.inference.probabilities import softmax
from tests.evaluation.made import CLASSES, make_split, trained_model

COUNT = len(CLASSES)
ENDS: tuple[Objective, ...] = ("balanced", "accuracy")


def unequal(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Five of six clips of the classes after the first are left out."""
    return tuple(case for place, case in enumerate(cases) if case.clip_label == 0 or place % 6 == 0)


@cache
def of(objective: Objective) -> Evaluation:
    made = {"train": make_split("train", 8), "calibration": make_split("cal", 4), "test": make_split("test", 5)}
    splits = Splits(**{name: unequal(split) for name, split in made.items()})
    config = Evaluate(bootstrap=40, timelines=1)
    return evaluate(trained_model(), splits, config=config, gates=Gates(), seed=7, train=Train(objective=objective))


def test_each_version_shows_every_objective_and_says_which_it_has() -> None:
    balanced, accuracy = (of(name).metrics for name in ENDS)
    assert (balanced["objective"], accuracy["objective"]) == ENDS
    assert tuple(balanced["objectives"]) == OBJECTIVES
    assert balanced["objectives"] == accuracy["objectives"]
    for figures in (balanced, accuracy):
        own = figures["objectives"][figures["objective"]]
        for level in ("clip", "step"):
            assert {name: own[level][name] for name in ("macro_f1", "uar", "accuracy", "ece")} == {
                name: figures[level][name] for name in ("macro_f1", "uar", "accuracy", "ece")
            }
            assert own[level]["weighted_f1"]["value"] == figures[level]["weighted_f1"]
            assert own[level]["weighted_f1"]["low"] <= own[level]["weighted_f1"]["value"]


def test_the_report_says_what_each_objective_is_for() -> None:
    assert tuple(AIMS) == OBJECTIVES


def test_the_prior_serves_accuracy_and_is_calibrated() -> None:
    both = of("accuracy").metrics["objectives"]
    assert both["accuracy"]["step"]["accuracy"]["value"] > both["balanced"]["step"]["accuracy"]["value"]
    figures = of("accuracy").metrics["calibration"]["step"]
    assert figures["nll_after"] < of("balanced").metrics["calibration"]["step"]["nll_after"]


def test_what_is_fitted_for_the_default_has_no_shift_and_one_for_accuracy_is_stored() -> None:
    balanced, accuracy = (of(name).fitted.calibration for name in ENDS)
    assert balanced.shift == Shift()
    assert "shift" not in balanced.to_json()
    assert len(accuracy.shift.clip) == COUNT
    assert Calibration.from_json(accuracy.to_json()) == accuracy


@pytest.mark.parametrize(
    ("settings", "balanced", "accuracy"),
    [
        ({}, 0.0, 1.0),
        ({"logit_adjustment": 0.5}, 0.0, 0.5),
        ({"class_weighting": "inverse_frequency"}, 0.0, 1.0),
        ({"class_weighting": "none"}, -1.0, 0.0),
    ],
)
def test_the_shift_is_what_training_took_from_the_prior(
    settings: dict[str, Any], balanced: float, accuracy: float
) -> None:
    cases = unequal(make_split("train", 8))
    labels = np.array([case.clip_label for case in cases])
    log_prior = np.log(np.bincount(labels, minlength=COUNT) / labels.size)
    for objective, share in zip(OBJECTIVES, (balanced, (balanced + accuracy) / 2, accuracy), strict=True):
        shift = shift_for(objective, Train(**settings), cases, COUNT).clip
        np.testing.assert_allclose(shift if shift else np.zeros(COUNT), share * log_prior, atol=1e-12)


def test_a_class_without_training_clips_stays_closed() -> None:
    shift = shift_for("accuracy", Train(), make_split("train", 2), COUNT + 1)
    assert shift.clip[-1] == shift.step[-1] == 0.0


def test_training_without_balance_means_accuracy_unless_it_is_set() -> None:
    assert Train(class_weighting="none").objective == "accuracy"
    assert Train(class_weighting="none", objective="balanced").objective == "balanced"
    assert Train().objective == "balanced"


def test_likelihoods_and_the_prior_give_bayes_posteriors() -> None:
    likelihood, prior = np.array([0.2, 0.5, 0.3]), np.array([0.7, 0.2, 0.1])
    posterior = softmax(np.log(likelihood), 1.0, tuple(np.log(prior)))
    np.testing.assert_allclose(posterior, likelihood * prior / (likelihood * prior).sum())
