"""Scores of a classifier, from a confusion matrix or from posteriors. Legend: N items, K classes, R draws.

Every function of a confusion matrix takes leading axes too, `(..., K, K)`, so that a thousand bootstrap draws are one
call. Rows are the truth, columns the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Posteriors come from fp32; a probability of exactly 0 for the truth would make one item's log score infinite.
FLOOR = 1e-12


def confusion(truth: Integers, predicted: Integers, classes: int) -> Integers:
    """Counts (K, K): rows are the truth, columns the prediction. Items of truth < 0 (unlabelled) do not count."""
    known = truth >= 0
    counts = np.bincount(truth[known] * classes + predicted[known], minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def f1_per_class(counts: NDArray[np.number]) -> Floats:
    """F1 of each class (..., K); NaN for a class that occurs neither in the truth nor in the prediction."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    occurrences = counts.sum(-1) + counts.sum(-2).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * hits / occurrences


def macro_f1(counts: NDArray[np.number]) -> Floats:
    """Mean F1 over the classes that occur in the truth or in the prediction (...,); NaN when there is no item.

    Classes that occur in neither are left out: scoring them 0 would punish a test set for what it does not contain,
    scoring them 1 would reward it. This is scikit-learn's `f1_score(average="macro")` without explicit labels.
    """
    return _mean_of_defined(f1_per_class(counts))


def weighted_f1(counts: NDArray[np.number]) -> Floats:
    """F1 weighted by how often each class is true (...,), the custom on MELD and IEMOCAP."""
    support = counts.sum(-1).astype(np.float64)
    total = support.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.nan_to_num(f1_per_class(counts)) * support).sum(-1) / total


def recall_per_class(counts: NDArray[np.number]) -> Floats:
    """Recall (..., K); NaN for a class that is never true."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-1).astype(np.float64)


def precision_per_class(counts: NDArray[np.number]) -> Floats:
    """Precision (..., K); NaN for a class that is never predicted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-2).astype(np.float64)


def uar(counts: NDArray[np.number]) -> Floats:
    """Unweighted average recall over the classes that occur in the truth (...,)."""
    return _mean_of_defined(recall_per_class(counts))


def accuracy(counts: NDArray[np.number]) -> Floats:
    """Share of items predicted right (...,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diagonal(counts, axis1=-2, axis2=-1).sum(-1) / counts.sum((-2, -1)).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Items by confidence: equal-width bins over (0, 1]; arrays (..., bins) of counts, sums of confidence and hits."""

    count: Floats
    confidence: Floats
    correct: Floats


def confidence_bins(posterior: NDArray[np.floating], truth: Integers, bins: int) -> Bins:
    """The labelled items of (N, K) posteriors by confidence, i.e. by their largest probability."""
    known = truth >= 0
    confidence = posterior[known].max(-1).astype(np.float64)
    correct = (posterior[known].argmax(-1) == truth[known]).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return Bins(
        count=np.bincount(index, minlength=bins).astype(np.float64),
        confidence=np.bincount(index, weights=confidence, minlength=bins).astype(np.float64),
        correct=np.bincount(index, weights=correct, minlength=bins).astype(np.float64),
    )


# A share of fewer items than this says nothing.
MIN_BIN_ITEMS = 8


def mass_bins(posterior: NDArray[np.floating], truth: Integers, bins: int) -> Bins:
    """As `confidence_bins`, but with as many items in one bin as in another, and in none fewer than eight.

    Equal-width bins of a sure model are nearly all empty (Nguyen and O'Connor 2015; Nixon et al. 2019, section 3.3).
    """
    known = truth >= 0
    confidence = posterior[known].max(-1).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    correct = (posterior[known].argmax(-1) == truth[known]).astype(np.float64)
    parts = np.array_split(order, max(1, min(bins, order.size // MIN_BIN_ITEMS)))
    return Bins(
        count=np.array([part.size for part in parts], dtype=np.float64),
        confidence=np.array([confidence[part].sum() for part in parts]),
        correct=np.array([correct[part].sum() for part in parts]),
    )


def ece(bins: Bins) -> Floats:
    """Expected calibration error (...,): mean |accuracy − confidence| over bins, weighted by items; NaN without items.

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    total = bins.count.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(bins.correct - bins.confidence).sum(-1) / total


def nll(posterior: NDArray[np.floating], truth: Integers) -> float:
    """Mean negative log-likelihood of the labelled items, in nats; NaN without any."""
    known = np.nonzero(truth >= 0)[0]
    if not known.size:
        return float("nan")
    return float(-np.log(np.maximum(posterior[known, truth[known]].astype(np.float64), FLOOR)).mean())


def brier(posterior: NDArray[np.floating], truth: Integers) -> float:
    """Mean squared distance between posterior and truth, summed over classes (Brier 1950): 0 best, 2 worst."""
    known = np.nonzero(truth >= 0)[0]
    if not known.size:
        return float("nan")
    target = np.eye(posterior.shape[1])[truth[known]]
    return float(((posterior[known].astype(np.float64) - target) ** 2).sum(-1).mean())


def auroc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties count half; NaN if one is missing.

    Mann–Whitney's U over the number of pairs (Hanley and McNeil 1982).
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse.reshape(scores.shape)]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def moments(truth: Floats, predicted: Floats) -> Floats:
    """(N,), (N,) → (N, 6): what `ccc` needs of each item, to be added up."""
    return np.stack([np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted], axis=-1)


def ccc(sums: Floats) -> Floats:
    """Concordance correlation coefficient of (..., 6) sums of `moments` (...,); NaN of fewer than two items.

    2 cov / (var of truth + var of prediction + (difference of means)²), Lin 1989, equation 2; the score of valence and
    arousal. 0 where a side does not vary.
    """
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = x / count, y / count
        spread = xx / count - mean_x**2 + yy / count - mean_y**2 + (mean_x - mean_y) ** 2
        found = 2 * (xy / count - mean_x * mean_y) / np.maximum(spread, FLOOR)
    return np.where(count >= 2, found, np.nan)


def majority(truth: Integers, classes: int) -> int:
    """The most frequent class; the first of equals."""
    return int(np.bincount(truth[truth >= 0], minlength=classes).argmax())


def _mean_of_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, values, 0.0).sum(-1) / defined.sum(-1)
