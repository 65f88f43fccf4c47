from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from bench.studies.which_modality import REST_S, TOGETHER, TURN_S, joined, pairs, reasons, tallied
from components.catalog.cases import Case
from components.inference.attribution import LeftOut, change_point, leave_one_out
from components.inference.calibration import Calibration
from components.inference.episodes import Episode
from components.inference.experts import Opinion
from components.inference.scoring import Scorer, keep
from components.inference.semi_markov import Smoother
from tests.evaluation.made import CLASSES, RATE_HZ, make_case, make_split, trained_model, without

STEPS = round((TURN_S + REST_S) * RATE_HZ)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(trained_model(), Calibration())


def steady(subject: str, mood: int, seed: int) -> Case:
    """A clip of one emotion throughout, long enough to be joined."""
    return make_case(f"{subject}-{mood}", subject, np.full(STEPS, mood), seed=seed)


def test_leaving_one_out_is_scoring_the_clip_without_it(scorer: Scorer) -> None:
    case = make_split("test", 5)[1]
    own = scorer.score(case.features, case.masks)
    left_out = leave_one_out(scorer, own, case.features, case.masks, {})
    for name, other in (("face", "voice"), ("voice", "face")):
        alone = scorer.score(*keep(case.features, case.masks, [other]))
        np.testing.assert_allclose(left_out.without[name], alone.step_posterior, atol=1e-6)
        np.testing.assert_allclose(left_out.alone[other], own.unimodal_steps[other])
    np.testing.assert_array_equal(left_out.posterior, own.step_posterior)


def test_where_nothing_is_left_every_emotion_is_as_likely_as_any_other(scorer: Scorer) -> None:
    case = without(make_split("test", 5)[1], "voice")
    left_out = leave_one_out(scorer, scorer.score(case.features, case.masks), case.features, case.masks, {})
    assert set(left_out.without) == {"face"}
    np.testing.assert_array_equal(left_out.without["face"], 1 / len(CLASSES))
    emotion = CLASSES[int(left_out.posterior.mean(0).argmax())]
    episode = Episode(onset_s=0.0, offset_s=case.steps / RATE_HZ, emotion=emotion, intensity=1.0, kind="sustained")
    (why,) = left_out.of_episodes([episode])
    assert (why.first, why.most) == (None, "face")
    own = why.by_modality["face"]
    assert own.instead is None
    assert own.change == pytest.approx(why.probability - 1 / len(CLASSES))


def test_a_pretrained_classifier_can_be_left_out_too(scorer: Scorer) -> None:
    case = make_split("test", 5)[1]
    own = scorer.score(case.features, case.masks)
    sure = np.tile(np.array([0.97, 0.01, 0.01, 0.01]), (case.steps, 1))
    opinions = {"text": Opinion(step=sure, valid=np.arange(case.steps) < 10)}
    left_out = leave_one_out(scorer, own, case.features, case.masks, opinions)
    assert set(left_out.without) == {"face", "voice", "text"}
    np.testing.assert_allclose(left_out.without["text"], own.step_posterior)
    assert (left_out.without["face"][:10, 0] > 0.5).all()
    alone = scorer.score(*keep(case.features, case.masks, ["voice"]))
    np.testing.assert_allclose(left_out.without["face"][10:], alone.step_posterior[10:], atol=1e-6)


def test_planted_transitions_name_who_turned_first_and_not_who_stayed(scorer: Scorer) -> None:
    """The same planting as `bench.studies.which_modality`, with unseen people and a model trained in seconds. Of this
    model the face tells pairs of emotions apart, so that between the emotions of a pair it has nothing to turn."""
    moods = {0: (0, 3), 1: (1, 2), 2: (3, 1)}
    clips = [
        steady(f"tiny/planted{person}", mood, seed=90 + 7 * person + place)
        for person in range(3)
        for place, mood in enumerate(moods[person])
    ]
    assert len(list(pairs(clips))) == 6
    tally = tallied(clips, scorer, Smoother(), lag_s=0.5, most=6)
    named = {pair: count for pair, count in tally.first.items() if pair[1] in ("face", "voice")}
    right = sum(count for (name, said), count in named.items() if name == said)
    assert sum(named.values()) >= 8
    assert right / sum(named.values()) >= 0.9
    still = {pair: count for pair, count in tally.most_of_still.items() if pair[1] in ("face", "voice")}
    assert sum(count for (name, said), count in still.items() if name != said) >= 0.8 * sum(still.values())


def test_modalities_that_turn_at_once_have_no_first(scorer: Scorer) -> None:
    pair = joined(steady("tiny/a1", 0, 5), steady("tiny/a1", 3, 6), {"face": TURN_S, "voice": TURN_S})
    why = reasons(pair, scorer, Smoother())
    assert why is not None
    assert why.first is None
    assert {name: own.turned_at_s for name, own in why.by_modality.items()} == {
        "face": pytest.approx(TURN_S, abs=0.11),
        "voice": pytest.approx(TURN_S, abs=0.11),
    }
    assert TOGETHER not in CLASSES


def left_out(posterior: np.ndarray, by_modality: Mapping[str, np.ndarray]) -> LeftOut:
    masks = {name: np.ones(len(posterior), dtype=bool) for name in by_modality}
    return LeftOut(
        posterior=posterior, without=by_modality, left=masks, alone={}, masks=masks, classes=("a", "b"), rate_hz=10.0
    )


def test_the_change_is_the_answer_with_minus_the_answer_without() -> None:
    whole = np.array([[0.8, 0.2]] * 10 + [[0.1, 0.9]] * 10)
    made = left_out(whole, {"face": np.array([[0.7, 0.3]] * 20), "voice": whole * 0.98 + 0.01})
    first = Episode(onset_s=0.0, offset_s=1.0, emotion="a", intensity=0.8, kind="sustained")
    second = Episode(onset_s=1.0, offset_s=2.0, emotion="b", intensity=0.9, kind="sustained")
    before, after = made.of_episodes([first, second])
    assert before.by_modality["face"].change == pytest.approx(0.1)
    assert (after.most, after.by_modality["face"].change, after.by_modality["face"].instead) == (
        "face",
        pytest.approx(0.6),
        "a",
    )
    (turn,) = made.of_transitions([first, second])
    assert turn.probability == pytest.approx(0.7)
    assert turn.by_modality["face"].change == pytest.approx(0.7)
    assert turn.by_modality["voice"].change == pytest.approx(0.014)
    assert turn.most == "face"
    (alike,) = left_out(whole, {"voice": whole}).of_transitions([first, second])
    assert alike.most is None


@pytest.mark.parametrize("seed", range(3))
def test_a_change_point_is_where_the_level_rises(seed: int) -> None:
    noise = 0.3 * np.random.default_rng(seed).standard_normal(30)
    assert change_point(noise + 3.0 * (np.arange(30) >= 12), least=1.0) == 12
    assert change_point(noise - 3.0 * (np.arange(30) >= 12), least=2.0) is None
    assert change_point(noise, least=1.0) is None
    assert change_point(noise[:1], least=1.0) is None
