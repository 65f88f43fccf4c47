from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.evaluation.episodes import (
    Episode,
    Smoother,
    episodes_of_path,
    find_episodes,
    kind_of,
    runs,
    transitions,
)

CLASSES = ("neutral", "anger", "fear")


def posterior(labels: list[int], sure: float = 0.9) -> np.ndarray:
    rows = np.full((len(labels), 3), (1 - sure) / 2)
    rows[np.arange(len(labels)), labels] = sure
    return rows


def test_the_path_is_the_best_of_all_paths() -> None:
    """Viterbi against brute force over every path of a short clip."""
    rng = np.random.default_rng(0)
    smoother = Smoother(mean_duration_s=0.4, transition_weight=0.7)
    leave = 1 / 4
    stay_cost, leave_cost = -0.7 * np.log(1 - leave), -0.7 * np.log(leave / 2)
    for _ in range(20):
        rows = rng.dirichlet([0.6] * 3, 7)
        valid = rng.random(7) > 0.2

        def score(path: tuple[int, ...], rows=rows, valid=valid) -> float:
            evidence = sum(np.log(max(rows[t, k], 1e-8)) for t, k in enumerate(path) if valid[t])
            changes = sum(a != b for a, b in pairwise(path))
            return evidence - changes * leave_cost - (6 - changes) * stay_cost

        best = max(product(range(3), repeat=7), key=score)
        found = smoother.path(rows, valid, 10.0)
        assert score(tuple(found)) == pytest.approx(score(best))


def test_a_lone_step_is_smoothed_away_and_a_flash_stays() -> None:
    valid = np.ones(40, dtype=bool)
    labels = [0] * 40
    labels[20] = 1
    smoother = Smoother(mean_duration_s=2.0)
    assert len(find_episodes(posterior(labels), valid, CLASSES, 10.0, smoother)) == 1
    labels[20:25] = [1] * 5
    found = find_episodes(posterior(labels), valid, CLASSES, 10.0, smoother)
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
    found = find_episodes(posterior(labels), valid, CLASSES, 10.0, Smoother())
    assert [(e.emotion, e.onset_s, e.offset_s) for e in found] == [("neutral", 0.0, 3.0)]
    assert find_episodes(posterior(labels), np.zeros(30, dtype=bool), CLASSES, 10.0, Smoother()) == []


def test_a_run_at_an_edge_or_of_a_second_is_no_flash() -> None:
    assert kind_of(0, 4, 40, 10.0) == "sustained"
    assert kind_of(36, 40, 40, 10.0) == "sustained"
    assert kind_of(10, 20, 40, 10.0) == "sustained"
    assert kind_of(10, 19, 40, 10.0) == "flash"


def test_one_step_and_no_step() -> None:
    one = find_episodes(posterior([1]), np.ones(1, dtype=bool), CLASSES, 10.0, Smoother())
    assert [(e.emotion, e.duration_s) for e in one] == [("anger", 0.1)]
    assert find_episodes(np.zeros((0, 3)), np.zeros(0, dtype=bool), CLASSES, 10.0, Smoother()) == []


def test_a_posterior_of_exactly_zero_is_survived() -> None:
    rows = posterior([0] * 5 + [1] * 5, sure=1.0)
    found = find_episodes(rows, np.ones(10, dtype=bool), CLASSES, 10.0, Smoother(mean_duration_s=0.5))
    assert [e.emotion for e in found] == ["neutral", "anger"]


def test_a_gap_between_episodes_changes_at_the_later_onset() -> None:
    pair = [
        Episode(onset_s=0.0, offset_s=1.0, emotion="anger", intensity=1.0, kind="sustained"),
        Episode(onset_s=2.0, offset_s=3.0, emotion="fear", intensity=1.0, kind="sustained"),
    ]
    assert [t.at_s for t in transitions(pair)] == [2.0]
    assert transitions([pair[0], pair[0]]) == []


def test_the_mean_duration_is_learned() -> None:
    assert Smoother.fit([1.0, 3.0]).mean_duration_s == 2.0
    assert Smoother.fit([]).mean_duration_s == 2.0
    smoother = Smoother(mean_duration_s=1.25, transition_weight=0.5)
    assert Smoother.from_json(smoother.to_json()) == smoother
    for bad in ({"mean_duration_s": 0.0}, {"transition_weight": -1.0}, {"mean_duration_s": float("nan")}):
        with pytest.raises(BundleError):
            Smoother(**bad)
    with pytest.raises(BundleError, match="no smoother"):
        Smoother.from_json({})


def test_runs() -> None:
    assert runs(np.array([1, 1, 0, 2, 2])) == [(1, 0, 2), (0, 2, 3), (2, 3, 5)]
    assert runs(np.empty(0, dtype=np.int64)) == []
    path = np.array([0, 1])
    assert len(episodes_of_path(path, posterior([0, 1]), np.array([True, False]), CLASSES, 10.0)) == 1
