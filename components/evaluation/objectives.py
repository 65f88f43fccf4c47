"""The two objectives of a classifier on unequal classes, and the figures of one training under both.

*Balanced* answers count every class alike (macro-F1, UAR); those for *accuracy* count it as often as training data
show it (accuracy, weighted F1). Scores that were balanced in training estimate log p(x | class), so adding the log
prior gives those of the other objective (Menon et al. 2021, arXiv 2007.07314, eq. 9 and 10). Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.contracts.config import Train
from components.contracts.labels import UNLABELLED
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, ece_of_sums
from components.inference.calibration import Shift
from components.model import scores
from components.model.losses import ClassBalance

Objective = Literal["balanced", "accuracy"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

# By objective and `train.class_weighting`: how much of the log prior its scores still need.
SHARES: Mapping[str, Mapping[str, Callable[[Train], float]]] = {
    "balanced": {
        # A tau other than 1 balances as far as was asked for.
        "logit_adjustment": lambda train: 0.0,
        "inverse_frequency": lambda train: 0.0,
        "none": lambda train: -1.0,
    },
    "accuracy": {
        "logit_adjustment": lambda train: train.logit_adjustment,
        "inverse_frequency": lambda train: 1.0,
        "none": lambda train: 0.0,
    },
}
FIGURES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "macro_f1": scores.macro_f1,
    "uar": scores.uar,
    "accuracy": scores.accuracy,
    "weighted_f1": scores.weighted_f1,
}


def shift_for(objective: Objective, train: Train, cases: Sequence[Case], classes: int) -> Shift:
    """The shift that gives the scores of a training the prior of an objective.

    Args:
        objective: the one to answer for.
        train: how the classes were balanced in training.
        cases: the training clips; those that cannot be learned from do not count.
        classes: K.
    """
    share = SHARES[objective][train.class_weighting](train)
    learned = [(case.clip_label, case.step_labels) for case in cases if case.usable]
    clips = np.array([clip_label for clip_label, _ in learned], dtype=np.int64)
    steps = np.concatenate([*(step_labels for _, step_labels in learned), np.empty(0, dtype=np.int64)])
    return Shift(clip=_log_prior(clips, share, classes), step=_log_prior(steps, share, classes))


def figures(samples: Mapping[str, Sample], *, bootstrap: Bootstrap, bins: int) -> dict[str, Any]:
    """Level → the scores that objectives differ in, with intervals over people."""
    made = {}
    for level, sample in samples.items():
        counts = sample.confusion_by_subject()
        rows = {name: bootstrap.of_sums(counts, statistic) for name, statistic in FIGURES.items()}
        rows["ece"] = bootstrap.of_sums(sample.bins_by_subject(bins), ece_of_sums)
        made[level] = {name: interval.to_json() for name, interval in rows.items()}
    return made


def _log_prior(labels: NDArray[np.int64], share: float, classes: int) -> tuple[float, ...]:
    """(K,) `share` · log prior, 0 for a class without a label; empty where it changes nothing."""
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes)
    shift = ClassBalance.of(counts.tolist(), "logit_adjustment", share).shift
    return shift if any(shift) else ()
