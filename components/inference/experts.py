"""Opinions of pretrained classifiers on modalities that a version was trained without.

Such a classifier was trained on data of its own and is used as it is (*zero-shot*). What it makes of a clip and what
the version makes of its own modalities are multiplied: a product of experts with equal priors (Hinton, Neural
Computation 14, 2002, eq. 1), each with a temperature of its own. Where the version has no modality at all, the
classifier's opinion stands alone.

Legend: T steps, L labels of the classifier, K classes of the version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.labels import Taxonomy
from components.contracts.pretrained import Pretrained
from components.inference.probabilities import product_of_experts, softmax

# The version's own opinion, in a product with those of classifiers.
OWN = "trained"


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """Of one classifier on one clip: `step` (T, K) posteriors, which count where `valid` (T,), and `clip` (K,), their
    mean over those steps."""

    step: NDArray[np.float64]
    valid: NDArray[np.bool_]

    @property
    def clip(self) -> NDArray[np.float64]:
        """(K,); at least one step must be valid."""
        return np.asarray(self.step[self.valid].mean(0))


def posterior(scores: NDArray[np.floating], classifier: Pretrained, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """(T, L) scores → (T, K) probabilities of the taxonomy's classes.

    The probability of a label goes to the class that it falls into; labels outside the taxonomy are left out. A class
    that no label falls into gets an even share, 1 / K, since the classifier can neither see nor exclude it.
    """
    of_label_TL = softmax(scores, classifier.temperature)
    class_of_label = np.array(classifier.classes(taxonomy), dtype=object)
    of_class_TK = np.stack([of_label_TL[:, class_of_label == name].sum(-1) for name in taxonomy.classes], axis=-1)
    covered_K = np.array([bool((class_of_label == name).any()) for name in taxonomy.classes])
    of_class_TK = of_class_TK / np.maximum(of_class_TK.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
    return np.where(covered_K, of_class_TK * covered_K.mean(), 1 / covered_K.size)


def joined_clip(own: NDArray[np.floating] | None, opinions: Mapping[str, Opinion]) -> NDArray[np.float32]:
    """(K,): the version's posterior, None where it has no modality of the clip, times the opinions."""
    rows = {name: opinion.clip for name, opinion in opinions.items()}
    if own is not None:
        rows[OWN] = np.asarray(own, dtype=np.float64)
    return product_of_experts(rows).astype(np.float32)


def joined_steps(
    own: NDArray[np.floating], own_valid: NDArray[np.bool_], opinions: Mapping[str, Opinion]
) -> NDArray[np.float32]:
    """(T, K): at each step, the product of the opinions that are valid there.

    Args:
        own: (T, K), the version's posterior.
        own_valid: (T,) where the version has a modality. Its rows stay as they are where no classifier has an opinion.
        opinions: modality → its classifier's.
    """
    rows = {name: np.where(opinion.valid[:, None], opinion.step, np.nan) for name, opinion in opinions.items()}
    rows[OWN] = np.where(own_valid[:, None], own.astype(np.float64), np.nan)
    heard = np.any([opinion.valid for opinion in opinions.values()], axis=0)
    return np.where(heard[:, None], product_of_experts(rows), own).astype(np.float32)
