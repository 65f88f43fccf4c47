"""Scores of posteriors and of continuous ratings; those of a confusion matrix are in `components/model/scores.py`.

Legend: N items, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from components.inference.probabilities import FLOOR
from components.model.agreement import concordance

# Items whose probabilities are in memory as float64 at once.
ROWS_AT_ONCE = 1 << 14

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Items by confidence: equal-width bins over (0, 1]; arrays (..., bins) of counts, sums of confidence and hits."""

    count: Floats
    confidence: Floats
    correct: Floats


class Confidences(NamedTuple):
    """`labelled` (N,) of all items; of those that are, `confidence`, the largest probability, and `correct`, 0 or 1."""

    labelled: NDArray[np.bool_]
    confidence: Floats
    correct: Floats


def confidences(posterior: NDArray[np.floating], truth: Integers) -> Confidences:
    """Of (N, K) posteriors."""
    labelled = truth >= 0
    confidence = posterior[labelled].max(-1).astype(np.float64)
    correct = (posterior[labelled].argmax(-1) == truth[labelled]).astype(np.float64)
    return Confidences(labelled, confidence, correct)


def bin_of(confidence: Floats, bins: int) -> Integers:
    """(N,) the bin of equal width over (0, 1] of each confidence."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def confidence_bins(posterior: NDArray[np.floating], truth: Integers, bins: int) -> Bins:
    """The labelled items of (N, K) posteriors by confidence, i.e. by their largest probability."""
    _, confidence, correct = confidences(posterior, truth)
    index = bin_of(confidence, bins)
    return Bins(
        count=np.bincount(index, minlength=bins).astype(np.float64),
        confidence=np.bincount(index, weights=confidence, minlength=bins).astype(np.float64),
        correct=np.bincount(index, weights=correct, minlength=bins).astype(np.float64),
    )


# A share of fewer items than this is meaningless.
MIN_BIN_ITEMS = 8


def mass_bins(posterior: NDArray[np.floating], truth: Integers, bins: int) -> Bins:
    """As `confidence_bins`, but with equally many items per bin, and no fewer than eight.

    Equal-width bins of a confident model are mostly empty (Nguyen and O'Connor 2015; Nixon et al. 2019, section 3.3).
    """
    _, confidence, correct = confidences(posterior, truth)
    order = np.argsort(confidence, kind="stable")
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
    labelled = np.nonzero(truth >= 0)[0]
    if not labelled.size:
        return float("nan")
    return _mean(lambda some: -np.log(np.maximum(posterior[some, truth[some]].astype(np.float64), FLOOR)), labelled)


def brier(posterior: NDArray[np.floating], truth: Integers) -> float:
    """Mean squared distance between posterior and truth, summed over classes (Brier 1950): 0 best, 2 worst."""
    labelled = np.nonzero(truth >= 0)[0]
    if not labelled.size:
        return float("nan")
    target = np.eye(posterior.shape[1])
    return _mean(lambda some: ((posterior[some].astype(np.float64) - target[truth[some]]) ** 2).sum(-1), labelled)


def _mean(of_each: Callable[[Integers], Floats], items: Integers) -> float:
    """The mean of what `of_each` gives for places (n,), which it gets some at a time."""
    parts = [of_each(items[first : first + ROWS_AT_ONCE]) for first in range(0, items.size, ROWS_AT_ONCE)]
    return float(np.concatenate(parts).mean())


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
    """(N,), (N,) → (N, 6): the summands of `ccc` for each item; in the order of `agreement.moment_sums`."""
    return np.stack([np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted], axis=-1)


def ccc(sums: Floats) -> Floats:
    """Concordance correlation coefficient of (..., 6) sums of `moments` (...,), the score of valence and arousal.

    See `agreement.concordance`, which training uses too; but NaN of fewer than two items, where it is undefined.
    """
    values = concordance(torch.from_numpy(np.asarray(sums, dtype=np.float64))).numpy()
    return np.where(sums[..., 0] >= 2, values, np.nan)
