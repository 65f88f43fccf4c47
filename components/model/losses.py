"""The parts of the training loss that are sums over clips: masked, class-balanced cross-entropy.

A part is one function of `LossInputs` and one line of `ADDITIVE` in `objective.py`. It returns a *sum over clips* and
its *normaliser*, because a batch is spread over workers: the loss of the global batch is (sum over workers of the sums)
/ (sum over workers of the normalisers), whatever the number of workers. With means instead, a worker whose clips have
few labelled steps would count each of them more.

A step without a valid modality and a clip without a valid step do not count; nor does a modality where it is absent.
Steps of a clip share the weight of one clip, so that a long clip does not outweigh a short one.

Legend: B clips, T steps, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from components.contracts.labels import UNLABELLED
from components.model.base import MixedTargets, ModelOutput


class LossPart(NamedTuple):
    """A weighted sum and its normaliser, both scalars."""

    total: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class ClassBalance:
    """How class frequencies are balanced.

    Attributes:
        shift: (K,) added to the scores in training only: tau · log prior (Menon et al. 2021, arXiv 2007.07314, eq. 10);
            the scores without it then estimate the class-balanced posterior.
        weight: (K,) weight of each item by its class: inverse frequency, mean 1 over the training items.
    """

    shift: tuple[float, ...]
    weight: tuple[float, ...]

    @classmethod
    def of(
        cls, counts: Sequence[float], kind: Literal["none", "inverse_frequency", "logit_adjustment"], tau: float = 1.0
    ) -> ClassBalance:
        """From the count of each class; without occurrences it gets shift 0 and weight 1 (its score is closed)."""
        count_K = torch.tensor(counts, dtype=torch.float64)
        occurs_K = count_K > 0
        shift_K = torch.zeros_like(count_K)
        weight_K = torch.ones_like(count_K)
        if occurs_K.any():
            if kind == "logit_adjustment":
                shift_K[occurs_K] = tau * (count_K[occurs_K] / count_K.sum()).log()
            elif kind == "inverse_frequency":
                weight_K[occurs_K] = count_K.sum() / (occurs_K.sum() * count_K[occurs_K])
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
        balance: shift and weight per class.
        present_K: True for classes with training clips. Smoothing spreads over these alone: mass on a class that can
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
class Targets:
    """Constants of a training that follow from the labels of the training split.

    Attributes:
        step_balance, clip_balance: by the labels of steps, and of clips.
        present: for each of the K classes, whether it has training clips.
        smoothing: in [0, 1), the mass taken from the true class and spread evenly.
    """

    step_balance: ClassBalance
    clip_balance: ClassBalance
    present: tuple[bool, ...]
    smoothing: float


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """The inputs of a part of the loss: one worker's clips of a batch.

    Attributes:
        targets: fixed for the whole training.
        output: the model's output for the clips.
        masks: {m: (B, T)}, True = valid.
        step_labels: (B, T); clip_labels: (B,); class indices, `UNLABELLED` where there is none.
        valence_arousal: (B, 2) in [-1, 1], NaN where a clip is not rated; None where no clip is.
    """

    targets: Targets
    output: ModelOutput
    masks: Mapping[str, Tensor]
    step_labels: Tensor
    clip_labels: Tensor
    valence_arousal: Tensor | None = None

    @cached_property
    def valid(self) -> Tensor:
        """(B, T), True where any modality is valid."""
        return torch.stack(list(self.masks.values())).any(0)


def step_part(inputs: LossInputs) -> LossPart:
    """Cross-entropy of the steps, of each way of reading one by itself, as `clip_part`."""
    output = inputs.output
    if not output.step_ways:
        return _steps(inputs, output.step_logits, inputs.valid)
    parts = [
        _steps(inputs, logits_BTK, inputs.valid)
        for name, logits_BTK in output.step_ways.items()
        if name not in output.mixed_step_targets
    ]
    parts += [_mixed_steps(inputs, mixed) for mixed in output.mixed_step_targets.values()]
    return _added(parts, inputs)


def clip_part(inputs: LossInputs) -> LossPart:
    """Cross-entropy of the clips, of each way of reading one by itself; of its mixed targets where a way has them."""
    output = inputs.output
    ways = dict(output.clip_ways) or {"clip": output.clip_logits}
    parts = [
        _clips(inputs, logits_BK, inputs.clip_labels, inputs.valid)
        for name, logits_BK in ways.items()
        if name not in output.mixed_targets
    ]
    parts += [_mixed(inputs, mixed) for mixed in output.mixed_targets.values()]
    return _added(parts, inputs)


def unimodal_step_part(inputs: LossInputs) -> LossPart:
    """Cross-entropy of the steps of every modality by itself."""
    logits = inputs.output.unimodal_step_logits
    return _added((_steps(inputs, logits_BTK, inputs.masks[name]) for name, logits_BTK in logits.items()), inputs)


def unimodal_clip_part(inputs: LossInputs) -> LossPart:
    """Cross-entropy of the clips of every modality by itself."""
    logits, labels_B = inputs.output.unimodal_clip_logits, inputs.clip_labels
    clips = (_clips(inputs, logits_BK, labels_B, inputs.masks[name]) for name, logits_BK in logits.items())
    return _added(clips, inputs)


def _steps(inputs: LossInputs, logits_BTK: Tensor, mask_BT: Tensor) -> LossPart:
    labels_N, share_N = _labelled_steps(inputs, mask_BT)
    return _step_items(inputs, logits_BTK.flatten(0, 1), labels_N, share_N)


def _mixed_steps(inputs: LossInputs, mixed: MixedTargets) -> LossPart:
    labels_N, share_N = _labelled_steps(inputs, inputs.valid)
    return _step_items(inputs, mixed.scores, labels_N[mixed.item], share_N[mixed.item] * mixed.weight)


def _labelled_steps(inputs: LossInputs, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (B · T,) of the steps of all clips, and the share of each in the weight of its clip."""
    labels_BT = inputs.step_labels.masked_fill(~mask_BT, UNLABELLED)
    labelled_BT = labels_BT != UNLABELLED
    share_BT = labelled_BT / labelled_BT.sum(-1, keepdim=True).clamp(min=1)
    return labels_BT.flatten(), share_BT.flatten()


def _step_items(inputs: LossInputs, logits_NK: Tensor, labels_N: Tensor, weight_N: Tensor) -> LossPart:
    targets = inputs.targets
    return cross_entropy_sum(
        logits_NK,
        labels_N,
        balance=targets.step_balance,
        present_K=logits_NK.new_tensor(targets.present, dtype=torch.bool),
        smoothing=targets.smoothing,
        item_weight_N=weight_N,
    )


def _clips(
    inputs: LossInputs, logits_BK: Tensor, labels_B: Tensor, mask_BT: Tensor, weight_B: Tensor | None = None
) -> LossPart:
    targets = inputs.targets
    return cross_entropy_sum(
        logits_BK,
        labels_B.masked_fill(~mask_BT.any(-1), UNLABELLED),
        balance=targets.clip_balance,
        present_K=logits_BK.new_tensor(targets.present, dtype=torch.bool),
        smoothing=targets.smoothing,
        item_weight_N=weight_B,
    )


def _mixed(inputs: LossInputs, mixed: MixedTargets) -> LossPart:
    labels_B, mask_BT = inputs.clip_labels[mixed.item], inputs.valid[mixed.item]
    return _clips(inputs, mixed.scores, labels_B, mask_BT, mixed.weight)


def _added(parts: Iterable[LossPart], inputs: LossInputs) -> LossPart:
    zero = inputs.output.clip_logits.new_zeros((), dtype=torch.float32)
    summands = [LossPart(zero, zero), *parts]
    return LossPart(
        torch.stack([part.total for part in summands]).sum(), torch.stack([part.weight for part in summands]).sum()
    )
