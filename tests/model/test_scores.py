from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from components.model import scores

LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(LABELS)
@settings(max_examples=60, deadline=None)
def test_scores_of_a_confusion_matrix_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    counts = scores.confusion(truth, predicted, 5)
    np.testing.assert_array_equal(counts, reference.confusion_matrix(truth, predicted, labels=range(5)))
    assert scores.macro_f1(counts) == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    weighted = reference.f1_score(truth, predicted, average="weighted")
    assert scores.weighted_f1(counts) == pytest.approx(weighted)
    recall = reference.recall_score(truth, predicted, average="macro", labels=np.unique(truth))
    assert scores.uar(counts) == pytest.approx(recall)
    assert scores.accuracy(counts) == pytest.approx(reference.accuracy_score(truth, predicted))


def test_leading_axes_are_scored_one_by_one() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (7, 3, 4, 4))
    for score in (scores.macro_f1, scores.uar, scores.accuracy, scores.weighted_f1):
        together = score(counts)
        assert together.shape == (7, 3)
        assert together[5, 2] == pytest.approx(float(score(counts[5, 2])))


def test_a_class_that_occurs_nowhere_does_not_count_and_nothing_at_all_is_nan() -> None:
    counts = np.diag([3, 2, 0])
    assert scores.macro_f1(counts) == 1
    assert np.isnan(scores.f1_per_class(counts)[2])
    assert np.isnan(scores.macro_f1(np.zeros((3, 3), dtype=int)))


def test_unlabelled_items_do_not_count() -> None:
    counts = scores.confusion(np.array([0, -100, 1]), np.array([0, 1, 1]), 2)
    np.testing.assert_array_equal(counts, np.eye(2))


def test_items_are_counted_by_group() -> None:
    rng = np.random.default_rng(0)
    group, truth, predicted = rng.integers(0, 3, 50), rng.integers(-1, 4, 50), rng.integers(0, 4, 50)
    counts = scores.confusion_by_group(group, 4, truth, predicted, 4)
    for index in range(4):
        mine = group == index
        np.testing.assert_array_equal(counts[index], scores.confusion(truth[mine], predicted[mine], 4))
    assert counts[3].sum() == 0
