from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.ablation.answers import ALL, Answers, FoldResult
from components.ablation.pooled import (
    Pooled,
    answered_by,
    chosen_per_fold,
    ensemble,
    majority,
    pool,
    product,
    products,
)
from components.inference.probabilities import product_of_experts

K = 3


def answers(fold: int, count: int, seed: int, *, right: float, truth: np.ndarray | None = None) -> Answers:
    """`count` clips, of which the share `right` is answered right."""
    rng = np.random.default_rng([fold, seed, count])
    truth = np.arange(count) % K if truth is None else truth
    best = np.where(np.arange(count) < right * count, truth, (truth + 1) % K)
    posterior = (0.1 + 0.7 * np.eye(K)[best] + 0.01 * rng.random((count, K))).astype(np.float32)
    return Answers(
        clips=tuple(f"f{fold}-{index}" for index in range(count)),
        clip=np.arange(count),
        truth=truth,
        posterior={ALL: posterior, **({"face": posterior} if fold == 0 else {"face": posterior, "voice": posterior})},
        unimodal={"face": posterior},
    )


def result(fold: int, seed: int, *, calibration: float, test: float, truth: np.ndarray | None = None) -> FoldResult:
    return FoldResult(
        answers={
            ("calibration", "clip"): answers(fold + 10, 6, seed, right=calibration),
            ("test", "clip"): answers(fold, 4 + fold, seed, right=test, truth=truth),
        },
        prior={"clip": np.eye(K, dtype=np.float32)[fold]},
        facts={},
    )


def pooled(calibration: tuple[float, float], test: float = 1.0, truth: np.ndarray | None = None) -> Pooled:
    folds = []
    for fold in range(2):
        known = None if truth is None else truth[: 4 + fold]
        folds.append([result(fold, seed, calibration=calibration[fold], test=test, truth=known) for seed in range(2)])
    return pool(folds, "clip")


def test_folds_follow_each_other_and_seeds_lie_above() -> None:
    found = pooled((1.0, 1.0))
    assert found.clips.tolist() == [f"f0-{i}" for i in range(4)] + [f"f1-{i}" for i in range(5)]
    assert found.fold.tolist() == [0] * 4 + [1] * 5
    assert found.posterior[ALL].shape == (2, 9, K)
    assert found.choice.shape == (2, 2)
    np.testing.assert_array_equal(found.posterior[ALL][1, 4:], answers(1, 5, 1, right=1.0).posterior[ALL])
    # The first fold does not know "voice", so it is no pattern of the whole.
    assert set(found.posterior) == {ALL, "face"}
    np.testing.assert_array_equal(majority(found)[0].argmax(-1), found.fold)


def test_the_choice_is_made_by_calibration_and_never_by_test_labels() -> None:
    good_then_bad, bad_then_good = pooled((1.0, 0.3), test=0.0), pooled((0.3, 1.0))
    chosen = chosen_per_fold({"a": good_then_bad, "b": bad_then_good})
    assert chosen == ("a", "b")
    other_truth = np.array([2, 2, 0, 1, 0])
    again = {"a": pooled((1.0, 0.3), 0.0, other_truth), "b": pooled((0.3, 1.0), 1.0, other_truth)}
    assert (again["a"].truth != good_then_bad.truth).any()
    assert chosen_per_fold(again) == chosen
    found = answered_by(chosen, {"a": good_then_bad, "b": bad_then_good})
    np.testing.assert_array_equal(found[:, :4], good_then_bad.posterior[ALL][:, :4])
    np.testing.assert_array_equal(found[:, 4:], bad_then_good.posterior[ALL][:, 4:])


def test_of_equals_the_first_is_chosen() -> None:
    one = pooled((0.5, 0.5))
    assert chosen_per_fold({"x": one, "y": replace(one)}) == ("x", "x")


def test_the_product_is_that_of_one_clip_at_a_time() -> None:
    rng = np.random.default_rng(0)
    opinions = {name: rng.dirichlet(np.ones(K), size=(2, 4)).astype(np.float32) for name in ("face", "voice", "text")}
    opinions["voice"][:, 1] = np.nan
    for values in opinions.values():
        values[:, 3] = np.nan
    prior = np.full(K, 1 / K, dtype=np.float32)
    found = product(opinions, prior)
    for seed in range(2):
        for item in range(3):
            there = {name: x[seed, item] for name, x in opinions.items() if not np.isnan(x[seed, item]).any()}
            assert found[seed, item] == pytest.approx(product_of_experts(there), abs=1e-6)
    np.testing.assert_array_equal(found[:, 3], np.broadcast_to(prior, (2, K)))
    made = products(opinions, ["face+voice", "voice"], np.tile(prior, (4, 1)))
    assert np.isnan(made["voice"][:, 1]).all()
    np.testing.assert_allclose(made["face+voice"][:, 1], opinions["face"][:, 1], atol=1e-6)


def test_an_ensemble_is_the_mean_over_the_seeds() -> None:
    one = pooled((1.0, 1.0)).posterior
    assert ensemble(one)[ALL].shape == (1, 9, K)
    np.testing.assert_allclose(ensemble(one)[ALL][0], (one[ALL][0] + one[ALL][1]) / 2, rtol=1e-6)
