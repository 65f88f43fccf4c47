from __future__ import annotations

import numpy as np
import pytest

from components.evaluation import intervals
from components.evaluation.intervals import Bootstrap, Interval, Subjects, ratio, rounded
from components.model.scores import accuracy


def mean_of(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def per_item(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=-1)


def test_people_are_redrawn_not_clips() -> None:
    """Clips of a person are copies: the interval must be as wide as that of ten items, not of a thousand."""
    rng = np.random.default_rng(0)
    effect = rng.normal(size=10)
    subjects = Subjects.of([f"s{i}" for i in range(10) for _ in range(100)])
    found = Bootstrap(draws=4000, seed=1).of_sums(subjects.sums(per_item(np.repeat(effect, 100))), mean_of)
    expected = 1.96 * effect.std() / np.sqrt(10)
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.15)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        effect = rng.normal(size=30)
        values = np.repeat(effect, 4) + rng.normal(size=120)
        subjects = Subjects.of([f"s{i:02d}" for i in range(30) for _ in range(4)])
        found = Bootstrap(draws=300, confidence=0.9, seed=trial).of_sums(subjects.sums(per_item(values)), mean_of)
        hits += found.low <= 0 <= found.high  # type: ignore[operator]
    assert 0.82 <= hits / 200 <= 0.95


def test_sums_and_items_give_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    subjects = Subjects.of([f"s{i % 7}" for i in range(60)])
    bootstrap = Bootstrap(draws=200, seed=5)
    by_sums = bootstrap.of_sums(subjects.sums(per_item(values)), mean_of)
    by_items = bootstrap.of_items(subjects, lambda items: float(values[items].mean()))
    assert by_items.value == pytest.approx(by_sums.value)
    assert by_items.low == pytest.approx(by_sums.low)
    assert by_items.high == pytest.approx(by_sums.high)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(0)
    subjects = Subjects.of([f"s{i}" for i in range(20) for _ in range(5)])
    hard = np.repeat(rng.normal(size=20), 5)
    first = subjects.sums(per_item(hard + 0.3))
    second = subjects.sums(per_item(hard))
    bootstrap = Bootstrap(draws=500, seed=2)
    difference = bootstrap.difference(first, second, mean_of)
    assert difference.value == pytest.approx(0.3)
    assert difference.low == pytest.approx(0.3)
    assert difference.high == pytest.approx(0.3)
    alone = bootstrap.of_sums(first, mean_of)
    assert alone.high - alone.low > 0.3  # type: ignore[operator]


def test_one_person_has_a_figure_and_no_interval() -> None:
    subjects = Subjects.of(["a", "a"])
    bootstrap = Bootstrap(draws=10)
    assert bootstrap.of_sums(subjects.sums(per_item(np.array([1.0, 3.0]))), mean_of) == Interval(
        value=2.0, low=None, high=None
    )
    assert bootstrap.of_items(subjects, lambda items: 1.0).low is None


def test_in_words_a_side_takes_the_place_of_the_sign() -> None:
    assert Interval(value=0.05, low=-0.01, high=0.11).sided("below", "above") == "0.050 [-0.010, 0.110] below"
    assert Interval(value=-0.05, low=-0.11, high=0.01).sided("below", "above") == "0.050 [-0.010, 0.110] above"
    assert Interval(value=-0.05, low=None, high=None).sided("below", "above") == "0.050 above"
    assert Interval(value=None, low=None, high=None).sided("below", "above") == "– below"


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    sums = Subjects.of([f"s{i}" for i in range(9)]).sums(per_item(np.arange(9.0)))
    first, again, other = (Bootstrap(draws=50, seed=seed).of_sums(sums, mean_of) for seed in (1, 1, 2))
    assert first == again != other


def test_a_ratio_of_sums_is_undefined_where_there_is_nothing_to_divide_by() -> None:
    sums = np.array([[[3.0, 4.0], [0.0, 5.0]], [[1.0, 2.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(ratio(sums), [[0.75, 0.0], [0.5, np.nan]])
    np.testing.assert_array_equal(ratio(sums[0], scale=60.0), [45.0, 0.0])


def test_what_is_undefined_is_null_in_json() -> None:
    nothing = Bootstrap(draws=5).of_sums(np.zeros((3, 2)), lambda sums: np.full(sums.shape[:-1], np.nan))
    assert nothing.to_json() == {"value": None, "low": None, "high": None}
    assert str(nothing) == "–"
    assert str(Interval(value=0.5, low=0.25, high=0.75)) == "0.500 [0.250, 0.750]"
    assert rounded(float("inf")) is None
    assert rounded(0.1234567891) == 0.123457


def test_figures_of_different_people_are_drawn_apart() -> None:
    counts = np.array([[[8.0, 2.0], [1.0, 9.0]], [[9.0, 1.0], [3.0, 7.0]], [[6.0, 4.0], [2.0, 8.0]]])
    bootstrap = Bootstrap(draws=400, seed=1)
    same = bootstrap.apart(counts, counts, accuracy)
    assert same.value == 0.0
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0 < same.high
    assert bootstrap.difference(counts, counts, accuracy).high == 0.0
    assert bootstrap.apart(counts, counts[:1], accuracy).low is None


def test_draws_of_many_people_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = Subjects.of([f"s{i % 7}" for i in range(60)])
    sums, bootstrap = subjects.sums(per_item(np.arange(60.0))), Bootstrap(draws=50, seed=5)
    whole = bootstrap.of_sums(sums, mean_of)
    (weights,) = bootstrap.weights(7)
    monkeypatch.setattr(intervals, "DRAWN_AT_ONCE", 40)
    assert [len(part) for part in bootstrap.weights(7)] == [5] * 10
    np.testing.assert_array_equal(np.concatenate([*bootstrap.weights(7)]), weights)
    assert bootstrap.of_sums(sums, mean_of).low == pytest.approx(whole.low)
