"""One clip through the model: calibrated posteriors, each modality's own opinion, and how far those disagree.

One clip a call, fp32, on the CPU, without gradients: the numbers of a clip cannot depend on what it is batched with, so
the online answer is the offline one. Legend: T steps, K classes, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from components.evaluation.calibration import Calibration, softmax
from components.model.base import EmotionModel

Features = Mapping[str, NDArray[np.float32]]
Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Logits:
    """Scores before softmax, float32: `step` (T, K), `clip` (K,), `unimodal` and `unimodal_step` by modality."""

    step: NDArray[np.float32]
    clip: NDArray[np.float32]
    unimodal: dict[str, NDArray[np.float32]]
    unimodal_step: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the model says of one clip.

    Attributes:
        step_posterior: (T, K) float32; steps at which no modality is valid carry no information.
        clip_posterior: (K,) float32.
        unimodal_posterior: modality → (K,) float32, of the modalities with at least one valid step.
        contradiction: `conflict` of the worst pair of unimodal posteriors, 0 (agree) to 1 (exclude each other); 0
            when fewer than two modalities are present.
        contradiction_pair: the worst pair, in the order of the names; None when fewer than two are present.
    """

    step_posterior: NDArray[np.float32]
    clip_posterior: NDArray[np.float32]
    unimodal_posterior: dict[str, NDArray[np.float32]]
    contradiction: float
    contradiction_pair: tuple[str, str] | None


class Scorer:
    """A model with its calibration."""

    def __init__(self, model: EmotionModel, calibration: Calibration) -> None:
        self.model = model.to(device="cpu", dtype=torch.float32).eval()
        self.calibration = calibration

    def logits(self, features: Features, masks: Masks) -> Logits:
        """Uncalibrated scores of one clip: {m: (T, D)}, {m: (T,)} as `Transform.apply` gives them."""
        with torch.inference_mode():
            out = self.model(
                {
                    name: torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None]
                    for name, x in features.items()
                },
                {name: torch.from_numpy(np.ascontiguousarray(x, dtype=bool))[None] for name, x in masks.items()},
            )
        return Logits(
            step=out.step_logits[0].numpy(),
            clip=out.clip_logits[0].numpy(),
            unimodal={name: value[0].numpy() for name, value in sorted(out.unimodal_clip_logits.items())},
            unimodal_step={name: value[0].numpy() for name, value in sorted(out.unimodal_step_logits.items())},
        )

    def score(self, features: Features, masks: Masks) -> Scored:
        """Calibrated posteriors of one clip: {m: (T, D)}, {m: (T,)} as `Transform.apply` gives them."""
        return self.calibrated(self.logits(features, masks), masks)

    def calibrated(self, logits: Logits, masks: Masks) -> Scored:
        """The scores of `logits` as posteriors; a modality without a valid step has no opinion."""
        unimodal = {
            name: softmax(value, self.calibration.unimodal.get(name, 1.0)).astype(np.float32)
            for name, value in logits.unimodal.items()
            if name in masks and bool(masks[name].any())
        }
        score, pair = contradiction(unimodal)
        return Scored(
            step_posterior=softmax(logits.step, self.calibration.step).astype(np.float32),
            clip_posterior=softmax(logits.clip, self.calibration.clip).astype(np.float32),
            unimodal_posterior=unimodal,
            contradiction=score,
            contradiction_pair=pair,
        )


def keep(
    features: Features, masks: Masks, modalities: Collection[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
    """The clip as if only `modalities` had been recorded: the others are zero and masked."""
    return (
        {name: value if name in modalities else np.zeros_like(value) for name, value in features.items()},
        {name: value if name in modalities else np.zeros_like(value) for name, value in masks.items()},
    )


def jensen_shannon(p: NDArray[np.floating], q: NDArray[np.floating]) -> float:
    """Jensen–Shannon divergence of two distributions (K,), base 2, in [0, 1] (Lin 1991, equation 4.1)."""
    first, second = p.astype(np.float64), q.astype(np.float64)
    middle = (first + second) / 2

    def relative_entropy(x: NDArray[np.float64]) -> float:
        some = x > 0
        return float((x[some] * np.log2(x[some] / middle[some])).sum())

    return min(1.0, max(0.0, (relative_entropy(first) + relative_entropy(second)) / 2))


def conflict(p: NDArray[np.floating], q: NDArray[np.floating]) -> float:
    """How far two distributions (K,) exclude each other: 0 when one class is the most probable of both, 1 when no class
    is possible to both.

    1 − max_k min(p_k / max p, q_k / max q): the conflict of possibility theory (Dubois and Prade, Possibility Theory,
    1988, section 1.6), with possibilities from probabilities by their ratio to the largest. Unlike a divergence it does
    not call it a contradiction when one side is merely unsure: a flat distribution is in conflict with none, and two
    that leave different classes open but share one agree.
    """
    first, second = p.astype(np.float64), q.astype(np.float64)
    shared = np.minimum(first / first.max(), second / second.max()).max()
    return float(min(1.0, max(0.0, 1.0 - shared)))


def contradiction(
    unimodal: Mapping[str, NDArray[np.floating]],
    measure: Callable[[NDArray[np.floating], NDArray[np.floating]], float] = conflict,
) -> tuple[float, tuple[str, str] | None]:
    """The worst pair of posteriors and its conflict; (0, None) with fewer than two."""
    worst: tuple[float, tuple[str, str] | None] = (0.0, None)
    for first, second in combinations(unimodal, 2):
        value = measure(unimodal[first], unimodal[second])
        if worst[1] is None or value > worst[0]:
            worst = (value, (first, second))
    return worst


def product_of_experts(unimodal: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """The normalised product of calibrated unimodal posteriors (K,) (Hinton 2002): a baseline for learned fusion."""
    logs = [np.log(np.maximum(posterior.astype(np.float64), 1e-12)) for posterior in unimodal.values()]
    return softmax(np.sum(logs, axis=0))
