"""Classification scores from a confusion matrix. Legend: N items, G groups, K classes.

Training, evaluation and ablation take their scores from here, so that a name means one thing in all of them. Every
score takes leading axes too, `(..., K, K)`, so that a thousand bootstrap draws are one call. Rows are the truth,
columns the prediction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def confusion(truth: Integers, predicted: Integers, classes: int) -> Integers:
    """Counts (K, K) of (N,) items; those with truth < 0 (unlabelled) do not count."""
    return confusion_by_group(np.zeros_like(truth), 1, truth, predicted, classes)[0]


def confusion_by_group(
    group: NDArray[np.integer], groups: int, truth: Integers, predicted: Integers, classes: int
) -> Integers:
    """Counts (G, K, K) of (N,) items, of which `group` (N,) is the index; as `confusion` for each group."""
    labelled = truth >= 0
    cells = (group[labelled] * classes + truth[labelled]) * classes + predicted[labelled]
    return np.bincount(cells, minlength=groups * classes**2).reshape(groups, classes, classes).astype(np.int64)


def f1_per_class(counts: NDArray[np.number]) -> Floats:
    """F1 of each class (..., K); NaN for a class that occurs neither in the truth nor in the prediction."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    occurrences = counts.sum(-1) + counts.sum(-2).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * hits / occurrences


def macro_f1(counts: NDArray[np.number]) -> Floats:
    """Mean F1 over the classes that occur in the truth or in the prediction (...,); NaN when there is no item.

    Classes that occur in neither are left out: scoring them 0 would punish a test set for classes it does not
    contain, scoring them 1 would reward it. This is scikit-learn's `f1_score(average="macro")` without explicit labels.
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


def _mean_of_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, values, 0.0).sum(-1) / defined.sum(-1)
