from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from components.evaluation import metrics


def test_ece_of_a_worked_example() -> None:
    # Two bins of ten: three items at 0.95 of which two are right, one at 0.55 that is right.
    posterior = np.array([[0.95, 0.05], [0.95, 0.05], [0.05, 0.95], [0.45, 0.55]])
    truth = np.array([0, 1, 1, 1])
    found = metrics.confidence_bins(posterior, truth, 10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert metrics.ece(found) == pytest.approx(3 / 4 * abs(2 / 3 - 0.95) + 1 / 4 * abs(1 - 0.55))


def test_confidence_one_falls_into_the_last_bin() -> None:
    found = metrics.confidence_bins(np.array([[1.0, 0.0]]), np.array([0]), 4)
    assert found.count.tolist() == [0, 0, 0, 1]


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=50))
@settings(max_examples=60, deadline=None)
def test_auroc_is_scikit_learns_ties_included(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], dtype=float)
    positive = np.array([flag for _, flag in pairs])
    if positive.all() or not positive.any():
        assert np.isnan(metrics.auroc(scores, positive))
    else:
        assert metrics.auroc(scores, positive) == pytest.approx(reference.roc_auc_score(positive, scores))


def test_nll_and_brier_of_worked_examples() -> None:
    posterior = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]])
    truth = np.array([0, 0, -1])
    assert metrics.nll(posterior, truth) == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)
    assert metrics.brier(posterior, truth) == pytest.approx((0.5 + 0.02) / 2)
    assert np.isfinite(metrics.nll(np.array([[0.0, 1.0]]), np.array([0])))
    assert np.isnan(metrics.nll(posterior, np.array([-1, -1, -1])))


def test_concordance_is_one_for_equality_alone() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, 30)
    assert metrics.ccc(metrics.moments(truth, truth).sum(0)) == pytest.approx(1)
    predicted = 0.5 * truth + 0.1
    expected = (
        2
        * np.cov(truth, predicted, bias=True)[0, 1]
        / (truth.var() + predicted.var() + (truth - predicted).mean() ** 2)
    )
    draws = np.stack([metrics.moments(truth, predicted).sum(0), metrics.moments(truth, truth).sum(0)])
    assert metrics.ccc(draws) == pytest.approx([expected, 1])


def test_concordance_of_fewer_than_two_items_is_undefined_and_of_a_constant_zero() -> None:
    truth = np.array([0.2, -0.4])
    assert np.isnan(metrics.ccc(metrics.moments(truth[:1], truth[:1]).sum(0)))
    assert np.isnan(metrics.ccc(np.zeros(6)))
    assert metrics.ccc(metrics.moments(truth, np.zeros(2)).sum(0)) == pytest.approx(0)


def test_bins_of_equal_mass_hold_equally_many_and_miss_nobody() -> None:
    rng = np.random.default_rng(0)
    posterior, truth = rng.dirichlet(np.ones(4), 203), rng.integers(0, 4, 203)
    found = metrics.mass_bins(posterior, truth, 15)
    assert found.count.size == 15
    assert set(found.count) == {13, 14}
    assert found.correct.sum() == (posterior.argmax(-1) == truth).sum()
    np.testing.assert_allclose(found.confidence.sum(), posterior.max(-1).sum())
    assert (np.diff(found.confidence / found.count) > 0).all()
    assert metrics.mass_bins(posterior[:20], truth[:20], 15).count.tolist() == [10, 10]
    assert metrics.mass_bins(posterior[:3], truth[:3], 15).count.tolist() == [3]
