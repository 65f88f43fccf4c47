"""How often the training clips of each dataset and class are drawn, where a union of corpora is to be evened out.

A dataset of n clips has a share of every epoch that is proportional to n ** `train.dataset_power`, and within its
share a class of m clips one proportional to m ** `train.class_power`: 1 is in proportion, 0 all alike, and between
them lies the smoothing of Conneau & Lample 2019 (arXiv 1901.07291, section 3.1) and Arivazhagan et al. 2019 (arXiv
1907.05019, section 4.2, with temperature 1 / power). Clips without a label of their own, such as dialogues whose
utterances have labels, count as one more class.

Drawing is systematic (Madow 1949, Annals of Mathematical Statistics 20, 333–354), so an epoch is as long as without it
and meets these shares up to one clip; a clip comes as often as every other of its dataset and class, give or take one.

Legend: N clips, K classes, S strata (a class of a dataset).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case, labels_of
from components.contracts.config import Train
from components.contracts.labels import UNLABELLED


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Which clips the epochs of a training have.

    Attributes:
        stratum: (N,) the class of a dataset that a clip belongs to; those of one dataset follow each other.
        expected: (N,) how often a clip is expected per epoch, alike in a stratum; N in sum.
    """

    stratum: NDArray[np.int64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, datasets: Sequence[str], labels: Sequence[int], *, dataset_power: float, class_power: float) -> Draws:
        """From the dataset and the class of each clip."""
        dataset_N = np.unique(np.array(datasets), return_inverse=True)[1].reshape(-1)
        label_N = np.array(labels, dtype=np.int64)
        strata_S2, stratum_N = np.unique(np.stack([dataset_N, label_N], 1), axis=0, return_inverse=True)
        stratum_N = stratum_N.reshape(-1)
        dataset_S, count_S = strata_S2[:, 0], np.bincount(stratum_N).astype(np.float64)
        class_share_S = count_S**class_power
        class_share_S /= np.bincount(dataset_S, weights=class_share_S)[dataset_S]
        share_S = np.bincount(dataset_N)[dataset_S] ** dataset_power * class_share_S
        share_S *= stratum_N.size / share_S.sum()
        return cls(stratum=stratum_N, expected=(share_S / count_S)[stratum_N])

    def epoch(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """(N,) the clips of one epoch in order, some several times, some not at all."""
        shuffled = rng.permutation(self.stratum.size)
        by_stratum = shuffled[np.argsort(self.stratum[shuffled], kind="stable")]
        ends = np.cumsum(self.expected[by_stratum])
        ends[-1] = ends.size  # not but for rounding
        reached = np.floor(np.concatenate([[0.0], ends]) + rng.random()).astype(np.int64)
        return rng.permutation(np.repeat(by_stratum, reached[1:] - reached[:-1]))


def draws_of(clips: Sequence[Case], train: Train) -> Draws | None:
    """Those of the training clips; None where each comes once per epoch."""
    if train.dataset_power == 1 and train.class_power == 1:
        return None
    labels = labels_of(clips)
    return Draws.of(
        [labels.datasets[dataset] for dataset in labels.dataset.tolist()],
        labels.clip.tolist(),
        dataset_power=train.dataset_power,
        class_power=train.class_power,
    )


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """(K,) how often each class labels a step and a clip of an average epoch."""

    step: NDArray[np.float64]
    clip: NDArray[np.float64]


def label_counts(clips: Sequence[Case], classes: int, draws: Draws | None = None) -> LabelCounts:
    """Of the training clips as they are drawn; as they come without `draws`."""
    labels = labels_of(clips)
    times_N = np.ones(len(clips)) if draws is None else draws.expected
    labelled_N = labels.clip != UNLABELLED
    times_P = times_N[labels.pair_clip] * labels.pair_steps
    return LabelCounts(
        step=np.bincount(labels.pair_class, weights=times_P, minlength=classes).astype(np.float64),
        clip=np.bincount(labels.clip[labelled_N], weights=times_N[labelled_N], minlength=classes).astype(np.float64),
    )
