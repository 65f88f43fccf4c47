"""Simulated looks: how often nothing is named, and that a shift is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from components.inference.profile import Outcome, Profile
from components.monitoring.drift import LEAST_ANSWERS, Drift, compare, holm, homogeneity

EMOTIONS = ("neutral", "anger", "happiness", "sadness")
Draw = Callable[[np.random.Generator], Outcome]


def ordinary(rng: np.random.Generator) -> Outcome:
    """An answer of a service that nothing has changed in."""
    emotion = str(rng.choice(EMOTIONS, p=[0.5, 0.2, 0.2, 0.1]))
    return Outcome(
        emotion=emotion,
        confidence=float(rng.beta(5, 2)),
        presence={"face": bool(rng.random() < 0.9), "voice": bool(rng.random() < 0.7)},
        distances={"face": float(rng.gamma(8, 0.1)), "voice": float(rng.gamma(8, 0.1))},
        contradiction=float(rng.random()),
        label=emotion if rng.random() < 0.8 else "neutral",
    )


def profile(rng: np.random.Generator, answers: int, draw: Draw = ordinary, *, people: int | None = None) -> Profile:
    return Profile.of((draw(rng) for _ in range(answers)), people=people)


def drawn_from(reference: Profile, answers: int, rng: np.random.Generator, *, sets: int) -> list[Profile]:
    """Profiles of new answers with the shares of a reference, drawn as counts: much faster than answer by answer."""
    drawn: list[dict[str, dict[str, int]]] = [{} for _ in range(sets)]
    for name, table in reference.tables.items():
        shares = np.array(list(table.values())) / sum(table.values())
        for tables, counts in zip(drawn, rng.multinomial(answers, shares, size=sets).tolist(), strict=True):
            tables[name] = dict(zip(table, counts, strict=True))
    return [Profile(tables=tables) for tables in drawn]


def look(now: Profile, before: Profile, *, false_alarms: float = 0.01, least: float = 0.0) -> Drift:
    return compare(now, before, false_alarms=false_alarms, least=least)


def test_where_nothing_moved_alarms_stay_at_the_stated_rate() -> None:
    """Every look has a reference and answers of its own, nine measures, and no least distance, so that chance alone
    decides."""
    rng = np.random.default_rng(0)
    truth, rate, looks = profile(rng, 2000), 0.1, 400
    now, before = (drawn_from(truth, answers, rng, sets=looks) for answers in (300, 600))
    alarms = np.mean([bool(look(*pair, false_alarms=rate).moved) for pair in zip(now, before, strict=True)])
    margin = 3 * np.sqrt(rate * (1 - rate) / looks)
    assert alarms <= rate + margin
    assert alarms >= rate / 4  # and the procedure is not simply deaf


def test_clips_of_few_people_raise_no_more_alarms_than_stated() -> None:
    """Ten clips of each person are the same; taken for independent, they would raise alarms most of the time."""
    rng = np.random.default_rng(1)
    rate, looks, people, each = 0.05, 100, 60, 10
    counts = {"with people": 0, "as if independent": 0}
    truth = profile(rng, 2000)
    for now, of_people in zip(
        drawn_from(truth, 300, rng, sets=looks), drawn_from(truth, people, rng, sets=looks), strict=True
    ):
        tables = {
            name: {place: each * count for place, count in table.items()} for name, table in of_people.tables.items()
        }
        before = Profile(tables=tables, people=people)
        counts["with people"] += bool(look(now, before, false_alarms=rate).moved)
        counts["as if independent"] += bool(look(now, replace(before, people=None), false_alarms=rate).moved)
    assert counts["with people"] <= looks * rate + 3 * np.sqrt(looks * rate * (1 - rate))
    assert counts["as if independent"] > looks / 2


def fewer_faces(rng: np.random.Generator) -> Outcome:
    return replace(ordinary(rng), presence={"face": bool(rng.random() < 0.5), "voice": bool(rng.random() < 0.7)})


def angrier(rng: np.random.Generator) -> Outcome:
    return replace(ordinary(rng), emotion=str(rng.choice(EMOTIONS, p=[0.2, 0.5, 0.2, 0.1])))


def new_microphone(rng: np.random.Generator) -> Outcome:
    own = ordinary(rng)
    return replace(own, distances={**own.distances, "voice": own.distances["voice"] * 1.6})


def unsure(rng: np.random.Generator) -> Outcome:
    return replace(ordinary(rng), confidence=float(rng.beta(3, 3)))


def contradictory(rng: np.random.Generator) -> Outcome:
    return replace(ordinary(rng), contradiction=float(rng.beta(3, 1)))


def wrong(rng: np.random.Generator) -> Outcome:
    return replace(ordinary(rng), label=str(rng.choice(EMOTIONS)))


@pytest.mark.parametrize(
    ("draw", "measure"),
    [
        (fewer_faces, "presence.face"),
        (angrier, "emotion"),
        (new_microphone, "distance.voice"),
        (unsure, "confidence"),
        (contradictory, "contradiction"),
        (wrong, "correct"),
    ],
)
def test_a_planted_shift_is_found_in_every_look(draw: Draw, measure: str) -> None:
    for seed in range(2):
        rng = np.random.default_rng([2, seed])
        drift = look(profile(rng, 300, draw), profile(rng, 600), least=0.1)
        assert measure in {own.measure for own in drift.moved}
        if measure in ("presence.face", "distance.voice", "confidence", "contradiction"):
            assert [own.measure for own in drift.moved] == [measure]


def test_it_says_what_moved_and_what_could_not_be_compared() -> None:
    before = Profile(tables={"presence.face": {"present": 90, "missing": 10}, "correct": {"right": 80, "wrong": 20}})
    now = Profile(tables={"presence.face": {"present": 40, "missing": 60}, "correct": {"right": 8, "wrong": 2}})
    drift = look(now, before)
    assert drift.reason.startswith("how often clips have face: missing 10% → 60% (p ")
    assert drift.notes == (f"how often answers are right: 10 answers, 100 before; {LEAST_ANSWERS} of each are needed",)
    assert look(before, before).reason == ""
    few_people = replace(before, people=5)
    assert look(now, few_people).moved == ()
    assert "5 before" in look(now, few_people).notes[1]


def test_a_difference_too_small_to_matter_is_not_named() -> None:
    before = Profile(tables={"correct": {"right": 80_000, "wrong": 20_000}})
    now = Profile(tables={"correct": {"right": 79_000, "wrong": 21_000}})
    (own,) = look(now, before, least=0.1).measures
    assert own.p < 1e-6
    assert not own.moved
    assert look(now, before).moved


def test_holm_and_the_test_of_homogeneity_are_the_textbooks() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    from scipy.stats import chi2_contingency

    one, other = {"x": 30, "y": 20, "z": 50}, {"x": 45, "y": 25, "z": 30}
    expected = chi2_contingency([list(one.values()), list(other.values())], correction=False).pvalue
    assert homogeneity(one, other) == pytest.approx(expected)
    assert homogeneity({"x": 100}, {"x": 50}) == 1.0
    assert homogeneity({"x": 100, "rare": 1}, {"x": 50}) == 1.0  # put together with its neighbour
