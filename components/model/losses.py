"""The training loss: masked, class-balanced, and additive over clips.

Every part is a *sum over clips* beside its *normaliser*, because a batch is spread over workers: the loss of the global
batch is (sum over workers of the sums) / (sum over workers of the normalisers), whatever the number of workers. With
means instead, a worker whose clips have few labelled steps would count each of them more.

Legend: B clips, T steps, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from components.contracts.config import Train
from components.model.base import ModelOutput

UNLABELLED = -100


class LossPart(NamedTuple):
    """A weighted sum and its normaliser, both scalars."""

    total: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class ClassBalance:
    """How unequal classes are evened out.

    Attributes:
        shift: (K,) added to the scores in training only: tau · log prior (Menon et al. 2021, arXiv 2007.07314, eq. 10);
            the scores without it then estimate the class-balanced posterior.
        weight: (K,) of each item by its class: inverse frequency, mean 1 over the training items.
    """

    shift: tuple[float, ...]
    weight: tuple[float, ...]

    @classmethod
    def of(
        cls, counts: Sequence[float], kind: Literal["none", "inverse_frequency", "logit_adjustment"], tau: float = 1.0
    ) -> ClassBalance:
        """From how often each class occurs; a class that never does is left alone (its score is closed anyway)."""
        count_K = torch.tensor(counts, dtype=torch.float64)
        seen_K = count_K > 0
        shift_K = torch.zeros_like(count_K)
        weight_K = torch.ones_like(count_K)
        if seen_K.any():
            if kind == "logit_adjustment":
                shift_K[seen_K] = tau * (count_K[seen_K] / count_K.sum()).log()
            elif kind == "inverse_frequency":
                weight_K[seen_K] = count_K.sum() / (seen_K.sum() * count_K[seen_K])
        return cls(shift=tuple(shift_K.tolist()), weight=tuple(weight_K.tolist()))


def cross_entropy_sum(
    logits_NK: Tensor,
    labels_N: Tensor,
    *,
    balance: ClassBalance,
    present_K: Tensor,
    smoothing: float,
    item_weight_N: Tensor | None = None,
) -> LossPart:
    """Smoothed, balanced cross-entropy summed over the labelled items.

    Args:
        logits_NK: scores; those of absent classes may be any finite number.
        labels_N: class indices, `UNLABELLED` where there is none.
        balance: shift and weight a class.
        present_K: True for classes that training has. Smoothing spreads over these alone: mass on a class that can
            never be predicted would cost the size of its closed score.
        smoothing: in [0, 1), the mass taken from the true class and spread evenly.
        item_weight_N: weight of each item, 1 by default.
    """
    labelled_N = labels_N != UNLABELLED
    target_N = labels_N.clamp(min=0)
    logits_NK = logits_NK.float() + logits_NK.new_tensor(balance.shift, dtype=torch.float32)
    log_p_NK = functional.log_softmax(logits_NK, dim=-1)
    hit_N = log_p_NK.gather(-1, target_N.unsqueeze(-1)).squeeze(-1)
    even_N = torch.where(present_K, log_p_NK, log_p_NK.new_zeros(())).sum(-1) / present_K.sum()
    loss_N = -(1 - smoothing) * hit_N - smoothing * even_N
    weight_N = logits_NK.new_tensor(balance.weight)[target_N] * labelled_N
    if item_weight_N is not None:
        weight_N = weight_N * item_weight_N
    return LossPart((loss_N * weight_N).sum(), weight_N.sum())


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weighted sum of step, clip and unimodal cross-entropy."""

    config: Train
    step_balance: ClassBalance
    clip_balance: ClassBalance
    present: tuple[bool, ...]

    @classmethod
    def of(cls, config: Train, *, classes: int, step_labels: Iterable[int], clip_labels: Iterable[int]) -> Objective:
        """From the labels of the training split; `UNLABELLED` ones do not count."""
        steps, clips = _count(step_labels, classes), _count(clip_labels, classes)
        kind, tau = config.class_weighting, config.logit_adjustment
        return cls(
            config=config,
            step_balance=ClassBalance.of(steps, kind, tau),
            clip_balance=ClassBalance.of(clips, kind, tau),
            present=tuple(bool(step or clip) for step, clip in zip(steps, clips, strict=True)),
        )

    @property
    def scale(self) -> dict[str, float]:
        """Part → its share in the loss; parts of share 0 are not computed."""
        shares = {
            "step": self.config.step_loss,
            "clip": self.config.clip_loss,
            "unimodal_step": self.config.unimodal_loss * self.config.step_loss,
            "unimodal_clip": self.config.unimodal_loss * self.config.clip_loss,
        }
        return {name: share for name, share in shares.items() if share > 0}

    def parts(
        self, output: ModelOutput, masks: Mapping[str, Tensor], step_labels_BT: Tensor, clip_labels_B: Tensor
    ) -> dict[str, LossPart]:
        """Each part of the loss over one worker's clips.

        A step without a valid modality, and a clip without a valid step, count for nothing; so does a modality where
        it is absent. Steps of a clip share the weight of one clip, so that a long clip does not outweigh a short one.
        """
        any_BT = torch.stack(list(masks.values())).any(0)
        parts: dict[str, LossPart] = {}
        scale = self.scale
        if "step" in scale:
            parts["step"] = self._steps(output.step_logits, step_labels_BT, any_BT)
        if "clip" in scale:
            parts["clip"] = self._clips(output.clip_logits, clip_labels_B, any_BT)
        if "unimodal_step" in scale:
            steps = [self._steps(x, step_labels_BT, masks[name]) for name, x in output.unimodal_step_logits.items()]
            parts["unimodal_step"] = LossPart(*map(sum_of, zip(*steps, strict=True)))
        if "unimodal_clip" in scale:
            clips = [self._clips(x, clip_labels_B, masks[name]) for name, x in output.unimodal_clip_logits.items()]
            parts["unimodal_clip"] = LossPart(*map(sum_of, zip(*clips, strict=True)))
        return parts

    def _steps(self, logits_BTK: Tensor, labels_BT: Tensor, mask_BT: Tensor) -> LossPart:
        labels_BT = labels_BT.masked_fill(~mask_BT, UNLABELLED)
        labelled_BT = labels_BT != UNLABELLED
        share_BT = labelled_BT / labelled_BT.sum(-1, keepdim=True).clamp(min=1)
        return cross_entropy_sum(
            logits_BTK.flatten(0, 1),
            labels_BT.flatten(),
            balance=self.step_balance,
            present_K=logits_BTK.new_tensor(self.present, dtype=torch.bool),
            smoothing=self.config.label_smoothing,
            item_weight_N=share_BT.flatten(),
        )

    def _clips(self, logits_BK: Tensor, labels_B: Tensor, mask_BT: Tensor) -> LossPart:
        return cross_entropy_sum(
            logits_BK,
            labels_B.masked_fill(~mask_BT.any(-1), UNLABELLED),
            balance=self.clip_balance,
            present_K=logits_BK.new_tensor(self.present, dtype=torch.bool),
            smoothing=self.config.label_smoothing,
        )


def sum_of(values: Iterable[Tensor]) -> Tensor:
    """The sum of scalars."""
    return torch.stack(list(values)).sum()


def _count(labels: Iterable[int], classes: int) -> list[float]:
    counts = [0.0] * classes
    for label in labels:
        if label != UNLABELLED:
            counts[label] += 1
    return counts
