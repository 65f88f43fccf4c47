"""The training loss: masked, class-balanced, and additive over clips.

Every part is a *sum over clips* beside its *normaliser*, because a batch is spread over workers: the loss of the global
batch is (sum over workers of the sums) / (sum over workers of the normalisers), whatever the number of workers. With
means instead, a worker whose clips have few labelled steps would count each of them more.

*Joint* parts are no sum over clips: valence and arousal (`agreement.py`) and the contrastive loss (`contrastive.py`).
Each is a function of sums over clips, so workers add up those sums; every worker then computes the same loss, takes the
gradient of its own share in the sums, and the gradients of all workers add up to that of the global batch.

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
from components.contracts.errors import ModelError
from components.contracts.labels import UNLABELLED
from components.model.agreement import AffectLoss
from components.model.base import Lesson, ModelOutput
from components.model.contrastive import ContrastiveLoss


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
    """The weighted sum of step, clip and unimodal cross-entropy, and of the joint parts that are there."""

    config: Train
    step_balance: ClassBalance
    clip_balance: ClassBalance
    present: tuple[bool, ...]
    affect: AffectLoss | None = None
    contrastive: ContrastiveLoss | None = None

    @classmethod
    def of(
        cls,
        config: Train,
        *,
        classes: int,
        step_labels: Iterable[int],
        clip_labels: Iterable[int],
        valence_arousal: bool = False,
        embedding: int = 0,
        texts: Tensor | None = None,
        seed: int = 0,
    ) -> Objective:
        """From the labels of the training split; `UNLABELLED` ones do not count.

        Args:
            valence_arousal, embedding: which heads the model has, as in its spec.
            texts: (K, embedding) what the contrastive loss compares with; None for learned vectors.
            seed: of the learned vectors.
        """
        steps, clips = _count(step_labels, classes), _count(clip_labels, classes)
        kind, tau = config.class_weighting, config.logit_adjustment
        present = tuple(bool(step or clip) for step, clip in zip(steps, clips, strict=True))
        contrastive = None
        if config.contrastive_loss > 0 and embedding:
            contrastive = ContrastiveLoss(
                present=present,
                rows=config.batch_clips,
                width=embedding,
                texts=texts,
                seed=seed,
                info_nce=config.contrastive_kind == "info_nce",
            )
        return cls(
            config=config,
            step_balance=ClassBalance.of(steps, kind, tau),
            clip_balance=ClassBalance.of(clips, kind, tau),
            present=present,
            affect=AffectLoss() if config.valence_arousal_loss > 0 and valence_arousal else None,
            contrastive=contrastive,
        )

    def to(self, device: torch.device) -> dict[str, Tensor]:
        """Moves what the loss itself learns, and returns it by name."""
        return {} if self.contrastive is None else dict(self.contrastive.to(device).named_parameters())

    @property
    def scale(self) -> dict[str, float]:
        """Part → its share in the loss, those of `parts` before the joint ones; parts of share 0 are not computed."""
        return {**self.additive, **self.joint}

    @property
    def joint(self) -> dict[str, float]:
        """The joint parts and their shares in the loss."""
        shares = {}
        if self.affect is not None:
            shares["valence_arousal"] = self.config.valence_arousal_loss
        if self.contrastive is not None:
            shares["contrastive"] = self.config.contrastive_loss
        return shares

    @property
    def joint_sizes(self) -> list[int]:
        """How many of the `joint_sums` each joint part has."""
        return [loss.size for loss in (self.affect, self.contrastive) if loss is not None]

    @property
    def additive(self) -> dict[str, float]:
        """The parts that are sums over clips, and their shares in the loss."""
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
        nothing = output.clip_logits.new_zeros((), dtype=torch.float32)
        scale = self.additive
        if "step" in scale:
            parts["step"] = self._steps(output.step_logits, step_labels_BT, any_BT)
        if "clip" in scale:
            ways = dict(output.clip_ways) or {"clip": output.clip_logits}
            own = [self._clips(x, clip_labels_B, any_BT) for name, x in ways.items() if name not in output.lessons]
            own += [self._lesson(lesson, clip_labels_B, any_BT) for lesson in output.lessons.values()]
            parts["clip"] = _added(own, nothing)
        if "unimodal_step" in scale:
            steps = (self._steps(x, step_labels_BT, masks[name]) for name, x in output.unimodal_step_logits.items())
            parts["unimodal_step"] = _added(steps, nothing)
        if "unimodal_clip" in scale:
            clips = (self._clips(x, clip_labels_B, masks[name]) for name, x in output.unimodal_clip_logits.items())
            parts["unimodal_clip"] = _added(clips, nothing)
        return parts

    def joint_sums(
        self,
        output: ModelOutput,
        masks: Mapping[str, Tensor],
        clip_labels_B: Tensor,
        valence_arousal_B2: Tensor,
        *,
        rank: int,
        world: int,
    ) -> Tensor:
        """What one worker adds to the sums of the joint parts, flat and float64.

        Raises:
            ModelError: the model lacks the head of a joint part.
        """
        any_BT = torch.stack(list(masks.values())).any(0)
        found = [output.clip_logits.new_zeros(0, dtype=torch.float64)]
        if self.affect is not None:
            clips_B2 = _head(output.valence_arousal, "valence_arousal")
            steps_BT2 = _head(output.step_valence_arousal, "step_valence_arousal")
            found.append(self.affect.sums(clips_B2, steps_BT2, valence_arousal_B2, any_BT))
        if self.contrastive is not None:
            labels_B = clip_labels_B.masked_fill(~any_BT.any(-1), UNLABELLED)
            embedding_BE = _head(output.embedding, "embedding")
            found.append(self.contrastive.sums(embedding_BE, labels_B, rank=rank, world=world))
        return torch.cat(found)

    def joint_values(self, sums: Tensor) -> list[Tensor]:
        """The joint parts of the global batch from the sums over all workers, scalars in the order of `joint`."""
        losses = [loss for loss in (self.affect, self.contrastive) if loss is not None]
        return [loss.value(part) for loss, part in zip(losses, torch.split(sums, self.joint_sizes), strict=True)]

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

    def _clips(self, logits_BK: Tensor, labels_B: Tensor, mask_BT: Tensor, weight_B: Tensor | None = None) -> LossPart:
        return cross_entropy_sum(
            logits_BK,
            labels_B.masked_fill(~mask_BT.any(-1), UNLABELLED),
            balance=self.clip_balance,
            present_K=logits_BK.new_tensor(self.present, dtype=torch.bool),
            smoothing=self.config.label_smoothing,
            item_weight_N=weight_B,
        )

    def _lesson(self, lesson: Lesson, labels_B: Tensor, mask_BT: Tensor) -> LossPart:
        return self._clips(lesson.scores, labels_B[lesson.clip], mask_BT[lesson.clip], lesson.weight)


def _added(parts: Iterable[LossPart], nothing: Tensor) -> LossPart:
    both = [LossPart(nothing, nothing), *parts]
    return LossPart(torch.stack([part.total for part in both]).sum(), torch.stack([part.weight for part in both]).sum())


def _head(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ModelError("the model has no head for a part of its loss", where=name)
    return value


def _count(labels: Iterable[int], classes: int) -> list[float]:
    counts = [0.0] * classes
    for label in labels:
        if label != UNLABELLED:
            counts[label] += 1
    return counts
