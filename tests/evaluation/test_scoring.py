from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from components.evaluation.calibration import Calibration, softmax
from components.evaluation.scoring import Scorer, conflict, contradiction, jensen_shannon, keep, product_of_experts
from tests.evaluation.made import CLASSES, make_split, trained_model, without

SURE, OTHER, FLAT = np.array([0.97, 0.01, 0.02]), np.array([0.01, 0.98, 0.01]), np.full(3, 1 / 3)


def test_posteriors_are_distributions_of_the_right_shape() -> None:
    case = make_split("test", 5)[0]
    scored = Scorer(trained_model(), Calibration()).score(case.features, case.masks)
    assert scored.step_posterior.shape == (30, len(CLASSES))
    np.testing.assert_allclose(scored.step_posterior.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(scored.clip_posterior.sum(), 1, rtol=1e-6)
    assert scored.step_posterior.dtype == scored.clip_posterior.dtype == np.float32


def test_each_head_has_its_own_temperature() -> None:
    case = make_split("test", 5)[0]
    calibration = Calibration(step=2.0, clip=3.0, unimodal={"face": 4.0})
    scorer = Scorer(trained_model(), calibration)
    logits, scored = scorer.logits(case.features, case.masks), scorer.score(case.features, case.masks)
    np.testing.assert_allclose(scored.step_posterior, softmax(logits.step, 2.0), rtol=1e-5)
    np.testing.assert_allclose(scored.clip_posterior, softmax(logits.clip, 3.0), rtol=1e-5)
    np.testing.assert_allclose(scored.unimodal_posterior["face"], softmax(logits.unimodal["face"], 4.0), rtol=1e-5)
    np.testing.assert_allclose(scored.unimodal_posterior["voice"], softmax(logits.unimodal["voice"]), rtol=1e-5)


def test_an_absent_modality_has_no_opinion_and_cannot_contradict() -> None:
    case = without(make_split("test", 5)[0], "voice")
    scored = Scorer(trained_model(), Calibration()).score(case.features, case.masks)
    assert set(scored.unimodal_posterior) == {"face"}
    assert scored.contradiction == 0
    assert scored.contradiction_pair is None


def test_masking_a_modality_is_not_having_it() -> None:
    case = make_split("test", 5)[0]
    scorer = Scorer(trained_model(), Calibration())
    masked = scorer.score(*keep(case.features, case.masks, ["face"]))
    gone = without(case, "voice")
    absent = scorer.score(gone.features, gone.masks)
    np.testing.assert_array_equal(masked.clip_posterior, absent.clip_posterior)


def test_planted_contradictions_score_higher() -> None:
    scorer = Scorer(trained_model(), Calibration())
    cases = [case for case in make_split("test", 5) if len(case.present) > 1]
    scores = {
        planted: np.mean(
            [
                scorer.score(c.features, c.masks).contradiction
                for c in cases
                if c.has_planted("contradiction") == planted
            ]
        )
        for planted in (True, False)
    }
    assert scores[True] > scores[False] + 0.3


def test_conflict_needs_two_sure_sides() -> None:
    assert conflict(SURE, SURE) == 0
    assert conflict(SURE, OTHER) > 0.95
    assert conflict(SURE, FLAT) == 0
    assert conflict(np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])) == 0
    assert conflict(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.5, 0.5])) == 1
    assert conflict(SURE, OTHER) == conflict(OTHER, SURE)


def test_jensen_shannon_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for p, q in zip(rng.dirichlet([0.3] * 5, 30), rng.dirichlet([0.3] * 5, 30), strict=True):
        assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1


def test_the_worst_pair_is_named() -> None:
    assert contradiction({"face": SURE, "text": FLAT, "voice": OTHER})[1] == ("face", "voice")
    assert contradiction({}) == (0.0, None)


def test_experts_that_agree_are_surer_together() -> None:
    one = np.array([0.6, 0.3, 0.1])
    both = product_of_experts({"face": one, "voice": one})
    np.testing.assert_allclose(both, one**2 / (one**2).sum(), rtol=1e-6)
