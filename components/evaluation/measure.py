"""The scores of a set of predictions with their intervals: the content of every table of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation import metrics
from components.evaluation.intervals import Bootstrap, Interval, Subjects, rounded
from components.model import scores

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Labelled predictions: `subjects` (N,) ids, `truth` (N,), `posterior` (N, K)."""

    subjects: Sequence[str]
    truth: NDArray[np.int64]
    posterior: NDArray[np.floating]

    @property
    def size(self) -> int:
        """N."""
        return int(self.truth.size)

    def confusion(self) -> NDArray[np.int64]:
        """(K, K) counts, rows are the truth."""
        return scores.confusion(self.truth, self.posterior.argmax(-1), self.posterior.shape[1])

    def confusion_by_subject(self) -> NDArray[np.float64]:
        """(S, K, K), rows are the truth; subjects in the order of their names."""
        people, answers = Subjects.of(self.subjects), self.posterior.argmax(-1)
        counts = scores.confusion_by_group(
            people.index, len(people.names), self.truth, answers, self.posterior.shape[1]
        )
        return counts.astype(np.float64)

    def bins_by_subject(self, bins: int) -> NDArray[np.float64]:
        """(S, 3, bins): counts, summed confidence and hits by confidence."""
        people = Subjects.of(self.subjects)
        rows = []
        for subject in range(len(people.names)):
            mine = people.index == subject
            by_confidence = metrics.confidence_bins(self.posterior[mine], self.truth[mine], bins)
            rows.append(np.stack([by_confidence.count, by_confidence.confidence, by_confidence.correct]))
        return np.stack(rows)


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
        nll=metrics.nll(sample.posterior, sample.truth),
        brier=metrics.brier(sample.posterior, sample.truth),
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
