from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.inference.calibration import Calibration, Shift
from components.inference.probabilities import product_of_experts, softmax
from components.inference.scoring import Scorer, keep
from components.inference.together import groups_of, trained_together
from components.serving.answers.words import apart_note
from tests.evaluation.made import CLASSES, make_split, trained_model

APART = (("face",), ("voice",))


@pytest.mark.parametrize(
    ("clips", "combinations"),
    [
        pytest.param([("face", "voice")] * 9 + [("voice",)] * 90, (), id="all of them together, if seldom"),
        pytest.param([("face",)] * 20 + [("text", "voice")] * 20, (("face",), ("text", "voice")), id="never together"),
        pytest.param(
            [("face",)] * 100 + [("voice",)] * 100 + [("face", "voice")], APART, id="once together is not training"
        ),
        pytest.param(
            [("face", "voice")] * 10 + [("text", "voice")] * 10,
            (("face", "voice"), ("text", "voice")),
            id="two combinations share a modality",
        ),
        pytest.param([("voice",)] * 3 + [()], (), id="a single modality"),
        pytest.param([], (), id="no clip"),
    ],
)
def test_what_was_trained_on_together(clips: list[tuple[str, ...]], combinations: tuple[tuple[str, ...], ...]) -> None:
    assert trained_together(clips) == combinations


@pytest.mark.parametrize(
    ("present", "together", "groups"),
    [
        (("face", "voice", "text"), (), (("face", "voice", "text"),)),
        (("face", "voice", "text"), (("face",), ("text", "voice")), (("voice", "text"), ("face",))),
        (("voice", "text"), (("face",), ("text", "voice")), (("voice", "text"),)),
        (("face", "voice", "text"), (("face", "voice"), ("text", "voice")), (("face", "voice"), ("text",))),
        (("face", "body"), APART, (("face",), ("body",))),
        ((), APART, ()),
    ],
)
def test_groups_hold_each_modality_once(present, together, groups) -> None:
    assert groups_of(present, together) == groups


def test_modalities_that_never_met_are_multiplied() -> None:
    case = make_split("test", 5)[0]
    plain = Scorer(trained_model(), Calibration(clip=1.3, step=1.1))
    apart = Scorer(trained_model(), replace(plain.calibration, together=APART))
    alone = [plain.score(*keep(case.features, case.masks, [name])) for name in ("face", "voice")]
    scored, fused = apart.score(case.features, case.masks), plain.score(case.features, case.masks)
    assert scored.groups == APART
    clip = product_of_experts({str(index): part.clip_posterior for index, part in enumerate(alone)})
    np.testing.assert_allclose(scored.clip_posterior, clip, rtol=1e-5)
    both = case.masks["face"] & case.masks["voice"]
    step = product_of_experts({str(index): part.step_posterior for index, part in enumerate(alone)})
    np.testing.assert_allclose(scored.step_posterior[both], step[both], rtol=1e-5)
    only = case.masks["face"] & ~case.masks["voice"]
    np.testing.assert_allclose(scored.step_posterior[only], alone[0].step_posterior[only], rtol=1e-5)
    for name, posterior in fused.unimodal_posterior.items():
        np.testing.assert_allclose(scored.unimodal_posterior[name], posterior, rtol=1e-5)
    np.testing.assert_allclose(scored.step_contradiction, fused.step_contradiction, rtol=1e-5)
    assert not np.allclose(scored.clip_posterior, fused.clip_posterior)


def test_the_prior_of_the_objective_counts_once() -> None:
    case = make_split("test", 5)[0]
    shift = Shift(clip=(1.0,) + (0.0,) * (len(CLASSES) - 1), step=(1.0,) + (0.0,) * (len(CLASSES) - 1))
    without = Scorer(trained_model(), Calibration(together=APART)).score(case.features, case.masks)
    scored = Scorer(trained_model(), Calibration(together=APART, shift=shift)).score(case.features, case.masks)
    expected = softmax(np.log(without.clip_posterior), shift=shift.clip)
    np.testing.assert_allclose(scored.clip_posterior, expected, rtol=1e-5)


def test_one_modality_is_read_as_ever() -> None:
    case = make_split("test", 5)[0]
    features, masks = keep(case.features, case.masks, ["voice"])
    plain = Scorer(trained_model(), Calibration()).score(features, masks)
    apart = Scorer(trained_model(), Calibration(together=APART)).score(features, masks)
    np.testing.assert_array_equal(apart.clip_posterior, plain.clip_posterior)
    np.testing.assert_array_equal(apart.step_posterior, plain.step_posterior)


def test_it_is_stored_only_where_it_matters() -> None:
    assert "together" not in Calibration().to_json()
    apart = Calibration(together=APART)
    assert Calibration.from_json(apart.to_json()) == apart


def test_an_answer_says_which_were_judged_apart() -> None:
    assert apart_note([("voice", "text"), ("face",)])[0].startswith("voice+text | face: judged apart")
    assert apart_note([("voice", "text")]) == apart_note([]) == []
