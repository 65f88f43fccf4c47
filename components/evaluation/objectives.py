"""The objectives of a classifier on unequal classes, and the figures of one training under each.

*Balanced* answers count every class alike (macro-F1, UAR); those for *accuracy* count it as often as training data
show it (accuracy, weighted F1); those *between* have half of the latter's log prior. Scores that were balanced in
training estimate log p(x | class), so adding the log prior gives those of the other objectives (Menon et al. 2021,
arXiv 2007.07314, eq. 9 and 10). Where training draws some clips more often than others, its scores have the prior of
what is drawn. Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.contracts.config import Train
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, ece_of_sums
from components.inference.calibration import Shift
from components.model import scores
from components.model.losses import ClassBalance
from components.training.samples.balance import LabelCounts, draws_of, label_counts

Objective = Literal["balanced", "between", "accuracy"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

# By `train.class_weighting`: how much of the log prior of what is drawn is still in the scores of a training. A tau
# other than 1 balances as far as was asked for.
LEFT: Mapping[str, float] = {"logit_adjustment": 0.0, "inverse_frequency": 0.0, "none": 1.0}
# By objective: how much of the log prior of the training data its scores have.
SHARES: Mapping[str, Callable[[Train], float]] = {
    "balanced": lambda train: 0.0,
    "between": lambda train: 0.5 * SHARES["accuracy"](train),
    "accuracy": lambda train: train.logit_adjustment if train.class_weighting == "logit_adjustment" else 1.0,
}
FIGURES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "macro_f1": scores.macro_f1,
    "uar": scores.uar,
    "accuracy": scores.accuracy,
    "weighted_f1": scores.weighted_f1,
}


@dataclass(frozen=True, kw_only=True)
class Priors:
    """How often each class labels a clip and a step of the training clips that can be learned from, as they come
    (`natural`) and as they were `drawn`."""

    natural: LabelCounts
    drawn: LabelCounts

    @classmethod
    def of(cls, learned: Sequence[Case], train: Train, classes: int) -> Priors:
        """Of clips that can be learned from; without features and masks is enough."""
        draws, natural = draws_of(learned, train), label_counts(learned, classes)
        return cls(natural=natural, drawn=natural if draws is None else label_counts(learned, classes, draws))

    def shift(self, objective: Objective, train: Train) -> Shift:
        """The shift that gives the scores of a training the prior of an objective.

        Args:
            objective: the one to answer for.
            train: how the classes were balanced and clips drawn in training.
        """
        share, left = SHARES[objective](train), LEFT[train.class_weighting]
        return Shift(
            clip=_shift((self.natural.clip, share), (self.drawn.clip, -left)),
            step=_shift((self.natural.step, share), (self.drawn.step, -left)),
        )


def shift_for(objective: Objective, train: Train, cases: Sequence[Case], classes: int) -> Shift:
    """The shift of an objective from the training clips; those that cannot be learned from do not count."""
    return Priors.of([case for case in cases if case.usable], train, classes).shift(objective, train)


def figures(samples: Mapping[str, Sample], *, bootstrap: Bootstrap, bins: int) -> dict[str, Any]:
    """Level → the scores that objectives differ in, with intervals over people."""
    made = {}
    for level, sample in samples.items():
        counts = sample.confusion_by_subject()
        rows = {name: bootstrap.of_sums(counts, statistic) for name, statistic in FIGURES.items()}
        rows["ece"] = bootstrap.of_sums(sample.bins_by_subject(bins), ece_of_sums)
        made[level] = {name: interval.to_json() for name, interval in rows.items()}
    return made


def _shift(*parts: tuple[NDArray[np.float64], float]) -> tuple[float, ...]:
    """(K,) the sum of each share of the log prior of its counts, 0 for a class without any; empty where it changes
    nothing."""
    priors = [ClassBalance.of(counts.tolist(), "logit_adjustment", share).shift for counts, share in parts]
    shift = tuple(float(sum(of_class)) for of_class in zip(*priors, strict=True))
    return shift if any(shift) else ()
