from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.inference.calibration import Calibration
from components.inference.contradiction import Rarity
from components.inference.probabilities import softmax
from components.inference.scoring import Scorer, keep
from tests.evaluation.made import CLASSES, make_split, trained_model, without


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
    assert scored.present == ("face",)
    assert scored.contradiction is None
    assert scored.contradiction_pair is None
    assert np.isnan(scored.step_contradiction).all()


def test_masking_a_modality_is_not_having_it() -> None:
    case = make_split("test", 5)[0]
    scorer = Scorer(trained_model(), Calibration())
    masked = scorer.score(*keep(case.features, case.masks, ["face"]))
    gone = without(case, "voice")
    absent = scorer.score(gone.features, gone.masks)
    np.testing.assert_array_equal(masked.clip_posterior, absent.clip_posterior)


@pytest.mark.parametrize("together", [(), (("face",), ("voice",))])
def test_clips_scored_together_are_as_each_of_them_alone(together: tuple[tuple[str, ...], ...]) -> None:
    """Of different lengths and modalities; together up to rounding, and one alone to the bit."""
    scorer = Scorer(trained_model(), Calibration(clip=1.3, step=1.1, together=together))
    whole = make_split("test", 5)[:6]
    clips = [
        ({name: x[:steps] for name, x in case.features.items()}, {name: x[:steps] for name, x in case.masks.items()})
        for case, steps in zip(whole, (30, 4, 17, 30, 29, 9), strict=True)
    ]
    clips[3] = keep(*clips[3], ["voice"])
    for own, scored in zip(clips, scorer.score_all(clips), strict=True):
        alone = scorer.score(*own)
        assert (scored.present, scored.groups) == (alone.present, alone.groups)
        np.testing.assert_allclose(scored.clip_posterior, alone.clip_posterior, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(scored.step_posterior, alone.step_posterior, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(scored.step_contradiction, alone.step_contradiction, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(scorer.score_all([own])[0].clip_posterior, alone.clip_posterior)
    assert scorer.score_all([]) == []


def test_planted_contradictions_score_higher() -> None:
    scorer = Scorer(trained_model(), Calibration())
    cases = [case for case in make_split("test", 5) if len(case.present) > 1]
    peaks = {True: [], False: []}
    for case in cases:
        moments = scorer.score(case.features, case.masks).moments
        assert moments is not None
        peaks[case.has_planted("contradiction")].append(moments.peak)
    assert np.mean(peaks[True]) > np.mean(peaks[False]) + 0.2


def test_a_clip_is_as_contradictory_as_its_worst_moment() -> None:
    case = next(case for case in make_split("test", 5) if case.has_planted("contradiction"))
    scorer = Scorer(trained_model(), Calibration(rarity=Rarity(conflict=(0.0, 1.0), rarity=(0.0, 0.9))))
    scored = scorer.score(case.features, case.masks)
    assert scored.contradiction == np.nanmax(scored.step_contradiction) > 0.5
    assert scored.contradiction_pair == ("face", "voice")


def test_fewer_modalities_have_their_own_temperature() -> None:
    case = make_split("test", 5)[0]
    calibration = Calibration(clip=1.0, clip_by_count={1: 3.0}, step_by_count={1: 2.0})
    scorer = Scorer(trained_model(), calibration)
    one = keep(case.features, case.masks, ["face"])
    np.testing.assert_allclose(scorer.score(*one).clip_posterior, softmax(scorer.logits(*one).clip, 3.0), rtol=1e-5)
    np.testing.assert_allclose(scorer.score(*one).step_posterior, softmax(scorer.logits(*one).step, 2.0), rtol=1e-5)
    both = scorer.logits(case.features, case.masks)
    np.testing.assert_allclose(scorer.calibrated(both, case.masks).clip_posterior, softmax(both.clip), rtol=1e-5)


def test_a_model_without_heads_of_each_modality_cannot_tell() -> None:
    case = make_split("test", 5)[0]
    scorer = Scorer(trained_model(), Calibration())
    bare = replace(scorer.logits(case.features, case.masks), unimodal={}, unimodal_step={})
    scored = scorer.calibrated(bare, case.masks)
    assert scored.unimodal_posterior == {}
    assert scored.contradiction is None
