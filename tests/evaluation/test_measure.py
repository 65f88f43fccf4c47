from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from components.evaluation import intervals, metrics
from components.evaluation import measure as measuring
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, SampleRows, ece_of_sums, measure, paired, per_class, thin
from components.runtime import spilled

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


def test_the_scores_of_many_items_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = sample()
    whole, bins = measure(given, bootstrap=BOOTSTRAP, bins=10), given.bins_by_subject(10)
    monkeypatch.setattr(intervals, "ITEMS_AT_ONCE", 7)
    monkeypatch.setattr(metrics, "ROWS_AT_ONCE", 2)
    in_parts = measure(given, bootstrap=BOOTSTRAP, bins=10)
    assert given.bins_by_subject(10).tobytes() == bins.tobytes()
    assert (in_parts.macro_f1, in_parts.ece) == (whole.macro_f1, whole.ece)
    assert (in_parts.nll, in_parts.brier) == (pytest.approx(whole.nll), pytest.approx(whole.brier))


@pytest.mark.parametrize("most", [1, 1 << 20])
def test_a_sample_is_gathered_by_person_and_parts_of_it_are_samples(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(spilled, "MEMORY_BYTES", most)
    monkeypatch.setattr(intervals, "ITEMS_AT_ONCE", 7)
    given, rows = sample(), SampleRows()
    for place, person in enumerate(given.subjects):
        rows.append(person, given.truth[place : place + 1], given.posterior[place : place + 1])
    rows.append("nobody", given.truth[:0], given.posterior[:0])
    found = rows.sample()
    assert found is not None
    assert found.people.names == ("p0", "p1", "p2")
    assert list(found.people) == given.subjects
    assert measure(found, bootstrap=BOOTSTRAP, bins=10) == measure(given, bootstrap=BOOTSTRAP, bins=10)
    chosen = np.array([person != "p1" for person in given.subjects])
    part = found.among(chosen)
    assert part.people.names == ("p0", "p2")
    assert list(part.people) == [person for person in given.subjects if person != "p1"]
    np.testing.assert_array_equal(part.posterior, given.posterior[chosen])
    assert SampleRows().sample() is None


def test_of_very_many_items_some_of_each_stretch_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given = sample(1000)
    assert given.thinned() is given
    monkeypatch.setattr(measuring, "MOST_ITEMS", 100)
    places = thin(1000)
    assert (places // 10).tolist() == list(range(100))
    assert len(set((places % 10).tolist())) > 3, "not the same moment of each"
    some = given.thinned()
    np.testing.assert_array_equal(some.truth, given.truth[places])
    assert list(some.people) == [given.subjects[place] for place in places]
    assert thin(100).tolist() == list(range(100))
