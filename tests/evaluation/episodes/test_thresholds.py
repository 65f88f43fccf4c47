from __future__ import annotations

import numpy as np

from components.evaluation.episodes.thresholds import MostProbable, Thresholds


def two(first: list[float]) -> np.ndarray:
    """Posteriors of two classes from that of the first."""
    return np.stack([first, 1 - np.array(first)], axis=1)


def path(first: list[float], valid: list[bool] | None = None, **values: float) -> list[int]:
    seen = np.ones(len(first), dtype=bool) if valid is None else np.array(valid)
    return Thresholds(**{"shortest_s": 0.0, **values}).path(two(first), seen, 10.0).tolist()


def test_a_class_holds_between_the_thresholds() -> None:
    # Below 0.5 but not below `leave`, and back again: no change. Below it, the other one takes over and holds likewise.
    assert path([0.9, 0.4, 0.6, 0.2, 0.6, 0.7, 0.9], enter=0.7, leave=0.3) == [0, 0, 0, 1, 1, 1, 0]
    assert path([0.9, 0.25, 0.9], enter=0.8, leave=0.3) == [0, 0, 0], "nothing reaches the upper threshold"


def test_what_is_too_short_goes_to_what_was_before() -> None:
    first = [0.9] * 4 + [0.1] * 2 + [0.9] * 4
    assert path(first, enter=0.6, leave=0.5, shortest_s=0.3) == [0] * 10
    assert path(first, enter=0.6, leave=0.5, shortest_s=0.2) == [0] * 4 + [1] * 2 + [0] * 4
    assert path([0.1] * 2 + [0.9] * 5, enter=0.6, leave=0.5, shortest_s=0.3) == [1] * 2 + [0] * 5, "nothing is before"


def test_steps_without_evidence_change_nothing() -> None:
    assert path([0.1, 0.9, 0.1, 0.9], [False, True, False, True], enter=0.6, leave=0.5) == [0, 0, 0, 0]
    assert path([0.1, 0.2], [False, False]) == [0, 0]
    assert Thresholds().path(np.zeros((0, 2)), np.zeros(0, dtype=bool), 10.0).size == 0


def test_the_most_probable_class() -> None:
    assert MostProbable().path(two([0.9, 0.4]), np.ones(2, dtype=bool), 10.0).tolist() == [0, 1]
