"""The scores of a set of predictions with their intervals: the content of every table of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation import metrics
from components.evaluation.intervals import Bootstrap, Interval, SubjectRows, Subjects, at_once, rounded, some_of
from components.model import scores
from components.runtime.spilled import SpilledRows

# The most items that temperatures are fitted on, and that what needs their order is read from: bins of equal mass, the
# curve of risk and coverage, ranks. It is enough for the third digit of any of them.
MOST_ITEMS = 1 << 19

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Labelled predictions: `subjects` (N,) ids, `truth` (N,), `posterior` (N, K); of many, arrays on disk."""

    subjects: Sequence[str] | Subjects
    truth: NDArray[np.int64]
    posterior: NDArray[np.floating]

    @property
    def people(self) -> Subjects:
        """Whose the items are."""
        return Subjects.of(self.subjects)

    @property
    def size(self) -> int:
        """N."""
        return int(self.truth.size)

    def parts(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
        """Truth and posterior, some items at a time."""
        for some in at_once(self.size):
            yield self.truth[some], self.posterior[some]

    def confusion(self) -> NDArray[np.int64]:
        """(K, K) counts, rows are the truth."""
        classes = self.posterior.shape[1]
        counts = np.zeros((classes, classes), dtype=np.int64)
        for truth, posterior in self.parts():
            counts += scores.confusion(truth, posterior.argmax(-1), classes)
        return counts

    def confusion_by_subject(self) -> NDArray[np.float64]:
        """(S, K, K), rows are the truth; subjects in the order of their names."""
        people, classes = self.people, self.posterior.shape[1]
        counts = np.zeros((len(people.names), classes, classes), dtype=np.int64)
        for some in at_once(self.size):
            answers = self.posterior[some].argmax(-1)
            counts += scores.confusion_by_group(
                people.index[some], len(people.names), self.truth[some], answers, classes
            )
        return counts.astype(np.float64)

    def bins_by_subject(self, bins: int) -> NDArray[np.float64]:
        """(S, 3, bins): counts, summed confidence and hits by confidence."""
        people = self.people
        sums = np.zeros((3, len(people.names) * bins))
        for some in at_once(self.size):
            sure = metrics.confidences(self.posterior[some], self.truth[some])
            cells = people.index[some][sure.labelled] * bins + metrics.bin_of(sure.confidence, bins)
            for row, values in zip(sums, (np.ones(cells.size), sure.confidence, sure.correct), strict=True):
                np.add.at(row, cells, values)  # one after the other, so the sums do not depend on the parts
        return sums.reshape(3, len(people.names), bins).transpose(1, 0, 2)

    def nll(self) -> float:
        """Mean negative log-likelihood, in nats."""
        return self._mean(metrics.nll)

    def brier(self) -> float:
        """Mean squared distance between posterior and truth."""
        return self._mean(metrics.brier)

    def among(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> Sample:
        """Some items of it: (N,) which ones, or their places."""
        truth, posterior = SpilledRows(), SpilledRows()
        for some in some_of(self.truth, chosen):
            truth.append(some)
        for some in some_of(self.posterior, chosen):
            posterior.append(some)
        subjects = self.people.among(chosen)
        return Sample(subjects=subjects, truth=truth.array(), posterior=posterior.array())

    def thinned(self) -> Sample:
        """Itself, or `MOST_ITEMS` items of it; see `thin`."""
        return self if self.size <= MOST_ITEMS else self.among(thin(self.size))

    def _mean(self, mean_of: Callable[[NDArray[np.floating], NDArray[np.int64]], float]) -> float:
        """A mean over labelled items."""
        parts = [(mean_of(posterior, truth), int((truth >= 0).sum())) for truth, posterior in self.parts()]
        if len(parts) == 1:
            return parts[0][0]
        total = sum(count for _, count in parts)
        return sum(mean * count for mean, count in parts if count) / total if total else float("nan")


class SampleRows:
    """Gathers a sample, some items of one subject at a time."""

    def __init__(self) -> None:
        self._subjects, self._truth, self._posterior = SubjectRows(), SpilledRows(), SpilledRows()

    def append(self, subject: str, truth: NDArray[np.int64], posterior: NDArray[np.floating]) -> None:
        """Adds labelled items (n,) with (n, K) posteriors."""
        self._subjects.append(subject, truth.size)
        self._truth.append(truth)
        self._posterior.append(posterior)

    def sample(self) -> Sample | None:
        """All of them; None when there is none. Nothing can be added afterwards."""
        if not len(self._truth):
            return None
        return Sample(subjects=self._subjects.subjects(), truth=self._truth.array(), posterior=self._posterior.array())


def thin(items: int) -> NDArray[np.int64]:
    """(n,) `MOST_ITEMS` places of N items, one in each of as many stretches, or all of them where they are no more.
    Drawn, since a fixed distance would meet the same moments of equally long clips."""
    if items <= MOST_ITEMS:
        return np.arange(items)
    rng = np.random.default_rng(items)
    return np.floor((np.arange(MOST_ITEMS) + rng.random(MOST_ITEMS)) * (items / MOST_ITEMS)).astype(np.int64)


def ece_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """ECE of (..., 3, bins) sums as `bins_by_subject` returns them."""
    return metrics.ece(
        metrics.Bins(count=sums[..., 0, :], confidence=sums[..., 1, :], correct=sums[..., 2, :]),
    )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one sample; `items` clips or steps of `subjects` people."""

    macro_f1: Interval
    uar: Interval
    accuracy: Interval
    ece: Interval
    weighted_f1: float | None
    nll: float | None
    brier: float | None
    items: int
    subjects: int

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "macro_f1": self.macro_f1.to_json(),
            "uar": self.uar.to_json(),
            "accuracy": self.accuracy.to_json(),
            "ece": self.ece.to_json(),
            "weighted_f1": rounded(self.weighted_f1),
            "nll": rounded(self.nll),
            "brier": rounded(self.brier),
            "items": self.items,
            "subjects": self.subjects,
        }


def measure(sample: Sample, *, bootstrap: Bootstrap, bins: int) -> Scores:
    """All scores of a sample with at least one item."""
    counts = sample.confusion_by_subject()
    return Scores(
        macro_f1=bootstrap.of_sums(counts, scores.macro_f1),
        uar=bootstrap.of_sums(counts, scores.uar),
        accuracy=bootstrap.of_sums(counts, scores.accuracy),
        ece=bootstrap.of_sums(sample.bins_by_subject(bins), ece_of_sums),
        weighted_f1=float(scores.weighted_f1(counts.sum(0))),
        nll=sample.nll(),
        brier=sample.brier(),
        items=sample.size,
        subjects=len(counts),
    )


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """How everything in one evaluation is measured: `level` is "clip" or "step", the level of the headline figures."""

    level: str
    bootstrap: Bootstrap
    bins: int

    def scores(self, sample: Sample) -> Scores:
        """All scores of a sample."""
        return measure(sample, bootstrap=self.bootstrap, bins=self.bins)

    def ece(self, sample: Sample) -> Interval:
        """Expected calibration error over bins of equal width."""
        return self.bootstrap.of_sums(sample.bins_by_subject(self.bins), ece_of_sums)


def paired(first: Sample, second: Sample, *, bootstrap: Bootstrap, statistic: Statistic = scores.macro_f1) -> Interval:
    """`statistic(first) − statistic(second)` of two samples over the same subjects, paired by subject."""
    return bootstrap.difference(first.confusion_by_subject(), second.confusion_by_subject(), statistic)


def per_class(sample: Sample, classes: Sequence[str], *, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Precision, recall and F1 (with its interval) of every class that occurs in the truth or in the prediction."""
    by_subject = sample.confusion_by_subject()
    counts = by_subject.sum(0)
    recall, precision = scores.recall_per_class(counts), scores.precision_per_class(counts)
    rows = []
    for index, name in enumerate(classes):
        if not counts[index].sum() and not counts[:, index].sum():
            continue
        f1 = bootstrap.of_sums(by_subject, lambda sums, k=index: scores.f1_per_class(sums)[..., k])  # type: ignore[misc]
        rows.append(
            {
                "class": name,
                "f1": f1.to_json(),
                "recall": rounded(float(recall[index])),
                "precision": rounded(float(precision[index])),
                "items": int(counts[index].sum()),
            }
        )
    return rows
