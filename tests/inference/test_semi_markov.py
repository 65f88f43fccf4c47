from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.inference.durations import Durations
from components.inference.episodes import find_episodes, runs, transitions
from components.inference.semi_markov import Smoother

CLASSES = ("neutral", "anger", "fear")
# At 3 Hz a flash lasts one or two steps, so short paths hold all kinds of durations.
SMALL = Durations(flash_share=0.4, flash_median_s=0.4, flash_spread=0.5, mood_mean_s=1.5)
RATE_HZ = 3.0


def posterior(labels: list[int], sure: float = 0.9) -> np.ndarray:
    rows = np.full((len(labels), 3), (1 - sure) / 2)
    rows[np.arange(len(labels)), labels] = sure
    return rows


@cache
def paths(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """All paths of so many steps, `[paths, steps]`, and the logarithm of what each is worth before any evidence."""
    every = np.array(list(product(range(3), repeat=steps)))
    return every, np.array([log_prior(path) for path in every])


def log_prior(path: np.ndarray) -> float:
    """Straight from the definition: durations of whole episodes, survival of the last, a mood under way at first."""
    hazard = SMALL.hazard(RATE_HZ)

    def of_age(age: int) -> float:
        return float(hazard[min(age, hazard.size) - 1])

    total = -np.log(3)
    stretches = runs(path)
    for index, (_, first, last) in enumerate(stretches):
        ages = [hazard.size] * (last - first) if index == 0 else list(range(1, last - first + 1))
        ends = index < len(stretches) - 1
        total += sum(np.log1p(-of_age(age)) for age in ages[: len(ages) - 1])
        total += np.log(of_age(ages[-1]) / 2) if ends else 0.0
    return float(total)


def log_joint(rows: np.ndarray, valid: np.ndarray, weight: float) -> np.ndarray:
    """For each of `paths`: what it is worth with the evidence of valid steps."""
    every, prior = paths(len(rows))
    evidence = np.log(np.maximum(rows, 1e-8))[np.arange(len(rows)), every]
    return prior + weight * evidence[:, valid].sum(axis=1)


def draws(seed: int, steps: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([0.5] * 3, steps), rng.random(steps) > 0.2


def test_the_offline_path_is_the_best_of_all_paths() -> None:
    smoother = Smoother(durations=SMALL, weight=0.8)
    for seed in range(20):
        rows, valid = draws(seed)
        found = smoother.path(rows, valid, RATE_HZ)
        worth = log_joint(rows, valid, 0.8)
        assert worth[(paths(7)[0] == found).all(axis=1)] == pytest.approx(worth.max())


@pytest.mark.parametrize("lag", [0, 1, 2, 99])
def test_the_causal_label_is_the_most_probable_one_given_the_past_and_the_lag(lag: int) -> None:
    decoder = Smoother(durations=SMALL, causal_weight=0.8, lag_s=lag / RATE_HZ).causal
    for seed in range(8):
        rows, valid = draws(seed, 6)
        found = decoder.path(rows, valid, RATE_HZ)
        for step in range(6):
            seen = min(6, step + lag + 1)
            worth = np.exp(log_joint(rows[:seen], valid[:seen], 0.8))
            chance = np.bincount(paths(seen)[0][:, step], worth, minlength=3)
            assert chance[found[step]] == pytest.approx(chance.max())


@pytest.mark.parametrize("lag_s", [0.0, 0.3])
def test_a_causal_label_never_changes_when_more_comes(lag_s: float) -> None:
    rng = np.random.default_rng(1)
    rows, valid = rng.dirichlet([0.4] * 8, 80), rng.random(80) > 0.1
    decoder = Smoother(lag_s=lag_s).causal
    whole, lag = decoder.path(rows, valid, 10.0), round(10 * lag_s)
    assert len(set(whole.tolist())) > 2
    for steps in range(1, 80):
        told = decoder.path(rows[:steps], valid[:steps], 10.0)
        assert told.size == steps
        settled = max(0, steps - lag)
        np.testing.assert_array_equal(told[:settled], whole[:settled])


def test_a_stream_tells_what_the_whole_sequence_tells_and_does_not_grow() -> None:
    rng = np.random.default_rng(2)
    rows, valid = rng.dirichlet([0.4] * 5, 60).astype(np.float32), rng.random(60) > 0.1
    decoder = Smoother(lag_s=0.4).causal
    stream = decoder.start(5, 10.0)
    told = [stream.step(row, bool(seen)) for row, seen in zip(rows, valid, strict=True)]
    assert told[:4] == [None] * 4
    assert [*told[4:], *stream.finish()] == decoder.path(rows, valid, 10.0).tolist()
    assert stream.finish() == []
    sizes = []
    for row in rows:
        stream.step(row, True)
        sizes.append(len(stream._open))
    assert max(sizes) == 4


def test_hours_are_decoded() -> None:
    labels = np.repeat(np.arange(60) % 3, 600)
    assert labels.size == 36_000
    rows = posterior(labels.tolist(), sure=0.6)
    smoother = Smoother()
    np.testing.assert_array_equal(smoother.path(rows, np.ones(36_000, dtype=bool), 10.0), labels)
    stream = smoother.causal.start(3, 10.0)
    told = np.array([stream.step(row, True) for row in rows])
    assert (told == labels).mean() > 0.99


def test_a_lone_step_is_smoothed_away_and_a_flash_stays() -> None:
    valid = np.ones(40, dtype=bool)
    labels = [0] * 40
    labels[20] = 1
    assert len(find_episodes(posterior(labels), valid, CLASSES, 10.0, Smoother())) == 1
    labels[20:25] = [1] * 5
    found = find_episodes(posterior(labels), valid, CLASSES, 10.0, Smoother())
    assert [(e.emotion, e.onset_s, e.offset_s, e.kind) for e in found] == [
        ("neutral", 0.0, 2.0, "sustained"),
        ("anger", 2.0, 2.5, "flash"),
        ("neutral", 2.5, 4.0, "sustained"),
    ]
    assert found[1].intensity == pytest.approx(0.9)
    assert [(t.at_s, t.before, t.after) for t in transitions(found)] == [
        (2.0, "neutral", "anger"),
        (2.5, "anger", "neutral"),
    ]


def test_steps_without_evidence_are_bridged_and_never_make_an_episode() -> None:
    labels = [0] * 10 + [2] * 10 + [0] * 10
    valid = np.ones(30, dtype=bool)
    valid[10:20] = False
    for decoder in (Smoother(), Smoother().causal):
        found = find_episodes(posterior(labels), valid, CLASSES, 10.0, decoder)
        assert [(e.emotion, e.onset_s, e.offset_s) for e in found] == [("neutral", 0.0, 3.0)]
        assert find_episodes(posterior(labels), np.zeros(30, dtype=bool), CLASSES, 10.0, decoder) == []


def test_one_step_no_step_and_one_class() -> None:
    for decoder in (Smoother(), Smoother(lag_s=0.3).causal):
        one = find_episodes(posterior([1]), np.ones(1, dtype=bool), CLASSES, 10.0, decoder)
        assert [(e.emotion, e.duration_s) for e in one] == [("anger", 0.1)]
        assert decoder.path(np.zeros((0, 3)), np.zeros(0, dtype=bool), 10.0).size == 0
        assert decoder.path(np.ones((5, 1)), np.ones(5, dtype=bool), 10.0).tolist() == [0] * 5


def test_a_posterior_of_exactly_zero_is_survived() -> None:
    rows = posterior([0] * 15 + [1] * 15, sure=1.0)
    for decoder in (Smoother(), Smoother().causal):
        found = find_episodes(rows, np.ones(30, dtype=bool), CLASSES, 10.0, decoder)
        assert [e.emotion for e in found] == ["neutral", "anger"]


def test_json_and_bounds() -> None:
    smoother = Smoother(durations=Durations(mood_mean_s=7.0), weight=0.7, causal_weight=2.0, lag_s=0.3)
    assert Smoother.from_json(smoother.to_json()) == smoother
    for bad in ({"weight": 0.0}, {"causal_weight": float("nan")}, {"lag_s": -0.1}):
        with pytest.raises(BundleError):
            Smoother(**bad)
    with pytest.raises(BundleError, match="not a smoother"):
        Smoother.from_json({"durations": Durations().to_json()})
