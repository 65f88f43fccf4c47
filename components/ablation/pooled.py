"""The pooled folds of a cross-validation: every item answered once per seed, by a model not trained on its person.

Legend: F folds, S seeds, N items, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.ablation.answers import ALL, FoldResult
from components.inference.probabilities import product_of_experts
from components.model.scores import confusion, macro_f1

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The answers of one variant, or a combination of those of others.

    Attributes:
        clips: (N,) the clip of each item; fold: (N,) the fold that tested it; truth: (N,) class index.
        posterior: pattern → (S, N, K), NaN where a clip has nothing of the pattern; `ALL` exists for every item.
        unimodal: modality → (S, N, K), NaN where it is absent.
        prior: (N, K) the class frequencies of the training split.
        choice: (F, S) macro-F1 on each fold's *calibration* split, by which variants may be chosen.
    """

    clips: NDArray[np.str_]
    fold: NDArray[np.int64]
    truth: NDArray[np.int64]
    posterior: Mapping[str, Floats]
    unimodal: Mapping[str, Floats]
    prior: Floats
    choice: NDArray[np.float64]

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.posterior[ALL])


def pool(results: Sequence[Sequence[FoldResult]], level: str) -> Pooled:
    """From `results[fold][seed]`. Patterns and modalities that a fold lacks are left out."""
    first = [seeds[0].answers["test", level] for seeds in results]
    counts = [answers.truth.size for answers in first]

    def joined(kind: str) -> dict[str, Floats]:
        tables = [[getattr(result.answers["test", level], kind) for result in seeds] for seeds in results]
        names = [name for name in tables[0][0] if all(name in table for seeds in tables for table in seeds)]
        return {
            name: np.concatenate([np.stack([table[name] for table in seeds]) for seeds in tables], axis=1)
            for name in names
        }

    return Pooled(
        clips=np.concatenate([np.asarray(answers.clips)[answers.clip] for answers in first]),
        fold=np.repeat(np.arange(len(results)), counts),
        truth=np.concatenate([answers.truth for answers in first]),
        posterior=joined("posterior"),
        unimodal=joined("unimodal"),
        prior=np.concatenate(
            [np.tile(seeds[0].prior[level], (count, 1)) for seeds, count in zip(results, counts, strict=True)]
        ),
        choice=np.array([[_calibration_score(result, level) for result in seeds] for seeds in results]),
    )


def _calibration_score(result: FoldResult, level: str) -> float:
    answers = result.answers["calibration", level]
    posterior = answers.posterior[ALL]
    counts = confusion(answers.truth, posterior.argmax(-1), posterior.shape[1])
    return float(macro_f1(counts))


def majority(pooled: Pooled) -> Floats:
    """(1, N, K): always the class frequencies of the training split."""
    return pooled.prior[None]


def product(opinions: Mapping[str, Floats], prior: Floats) -> Floats:
    """The product of the posteriors of the present modalities, (S, N, K); the prior where none is present.

    Args:
        opinions: modality → (S, N, K) calibrated posteriors, NaN where it is absent.
        prior: (N, K), or (K,).
    """
    present = np.any([~np.isnan(posterior).any(-1) for posterior in opinions.values()], axis=0)
    return np.where(present[..., None], product_of_experts(opinions), prior).astype(np.float32)


def products(opinions: Mapping[str, Floats], patterns: Sequence[str], prior: Floats) -> dict[str, Floats]:
    """`product` of everything, and under each pattern (NaN where a clip has nothing of it)."""
    missing = np.full(prior.shape, np.nan, dtype=np.float32)
    combined = {ALL: product(opinions, prior)}
    for pattern in patterns:
        remaining = {name: opinions[name] for name in pattern.split("+") if name in opinions}
        if remaining:
            combined[pattern] = product(remaining, missing)
    return combined


def ensemble(posterior: Mapping[str, Floats]) -> dict[str, Floats]:
    """The mean over the seeds as one answer, (1, N, K)."""
    return {name: values.mean(0, keepdims=True) for name, values in posterior.items()}


def chosen_per_fold(pooled: Mapping[str, Pooled]) -> tuple[str, ...]:
    """For each fold the variant with the best mean macro-F1 over the seeds on its calibration split; among equals
    the first. Test labels are not used."""
    names = list(pooled)
    scores = np.stack([pooled[name].choice.mean(1) for name in names])
    return tuple(names[int(index)] for index in scores.argmax(0))


def answered_by(chosen: Sequence[str], pooled: Mapping[str, Pooled]) -> Floats:
    """(S, N, K): each fold's items, answered by the variant that was chosen for it."""
    answers = next(iter(pooled.values())).posterior[ALL].copy()
    for fold, name in enumerate(chosen):
        mine = pooled[name].fold == fold
        answers[:, mine] = pooled[name].posterior[ALL][:, mine]
    return answers
