from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, ece_of_sums, measure, paired, per_class

BOOTSTRAP = Bootstrap(draws=50, seed=3)


def sample(items: int = 60, classes: int = 4, seed: int = 0) -> Sample:
    """Three people, answers that are often right, and a class that never occurs."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - 1, items)
    logits = rng.normal(size=(items, classes)) + 2 * np.eye(classes)[truth]
    logits[:, -1] = -50
    posterior = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return Sample(subjects=[f"p{person}" for person in rng.integers(0, 3, items)], truth=truth, posterior=posterior)


def test_counts_and_bins_of_people_add_up_to_those_of_all() -> None:
    given = sample()
    np.testing.assert_array_equal(given.confusion_by_subject().sum(0), given.confusion())
    expected = reference.confusion_matrix(given.truth, given.posterior.argmax(-1), labels=range(4))
    np.testing.assert_array_equal(given.confusion(), expected)
    assert given.bins_by_subject(10).sum(0)[0].sum() == given.size


def test_the_scores_of_a_sample_are_scikit_learns() -> None:
    given = sample()
    scores, answers = measure(given, bootstrap=BOOTSTRAP, bins=10), given.posterior.argmax(-1)
    assert scores.macro_f1.value == pytest.approx(reference.f1_score(given.truth, answers, average="macro"))
    assert scores.weighted_f1 == pytest.approx(reference.f1_score(given.truth, answers, average="weighted"))
    assert scores.accuracy.value == pytest.approx(reference.accuracy_score(given.truth, answers))
    assert scores.nll == pytest.approx(reference.log_loss(given.truth, given.posterior, labels=range(4)))
    assert scores.ece.value == pytest.approx(float(ece_of_sums(given.bins_by_subject(10).sum(0))))
    assert scores.macro_f1.low is not None
    assert scores.macro_f1.low <= scores.macro_f1.value <= scores.macro_f1.high
    assert (scores.items, scores.subjects) == (60, 3)


def test_a_difference_is_paired() -> None:
    given = sample()
    same = paired(given, given, bootstrap=BOOTSTRAP)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_class_that_does_not_occur_has_no_row() -> None:
    rows = per_class(sample(), ("a", "b", "c", "never"), bootstrap=BOOTSTRAP)
    assert [row["class"] for row in rows] == ["a", "b", "c"]
    assert sum(row["items"] for row in rows) == 60
