"""The training loss: a table of parts, each with its weight in the section `train`; a weight of 0 is off.

*Additive* parts are sums over clips (`losses.py`). *Joint* parts are not: valence and arousal (`agreement.py`) and the
contrastive loss (`contrastive.py`). Each is a function of sums over clips, so workers add up those sums; every worker
then computes the same loss and the gradient of its own share in the sums, and the gradients of all workers add up to
that of the global batch.

Legend: B clips, T steps, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.contracts.labels import UNLABELLED
from components.model.agreement import AffectLoss
from components.model.base import ModelOutput
from components.model.contrastive import ContrastiveLoss
from components.model.losses import (
    ClassBalance,
    LossInputs,
    LossPart,
    Targets,
    clip_part,
    step_part,
    unimodal_clip_part,
    unimodal_step_part,
)


class Additive(NamedTuple):
    """A part that is a sum over clips: its weight in the loss, and the function that computes it."""

    weight: Callable[[Train], float]
    of: Callable[[LossInputs], LossPart]


# The order is that of summation. A weight's setting ends in `_loss`, by which presets find it (contracts/presets.py).
ADDITIVE: dict[str, Additive] = {
    "step": Additive(lambda train: train.step_loss, step_part),
    "clip": Additive(lambda train: train.clip_loss, clip_part),
    "unimodal_step": Additive(lambda train: train.unimodal_loss * train.step_loss, unimodal_step_part),
    "unimodal_clip": Additive(lambda train: train.unimodal_loss * train.clip_loss, unimodal_clip_part),
}


class JointLoss(Protocol):
    """A function of sums over the clips of all workers."""

    @property
    def size(self) -> int:
        """The number of sums it needs."""

    def value(self, sums: Tensor) -> Tensor:
        """The loss of the global batch, a scalar, from the sums over all workers."""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What a joint loss depends on: the heads that the model has, and the classes.

    Attributes:
        valence_arousal, embedding: as in the model's spec.
        present: for each of the K classes, whether it has training clips.
        texts: (K, embedding) of the classes, for the contrastive loss; None for learned vectors.
        seed: of the learned vectors.
    """

    valence_arousal: bool
    embedding: int
    present: tuple[bool, ...]
    texts: Tensor | None
    seed: int


class Joint(NamedTuple):
    """A part that is not a sum over clips: its weight, its factory (None without its head), and one worker's sums."""

    weight: Callable[[Train], float]
    make: Callable[[Train, Heads], JointLoss | None]
    sums: Callable[[Any, LossInputs, int, int], Tensor]


def _affect(train: Train, heads: Heads) -> AffectLoss | None:
    return AffectLoss() if heads.valence_arousal else None


def _affect_sums(loss: AffectLoss, inputs: LossInputs, rank: int, world: int) -> Tensor:
    clips_B2 = _head(inputs.output.valence_arousal, "valence_arousal")
    steps_BT2 = _head(inputs.output.step_valence_arousal, "step_valence_arousal")
    return loss.sums(clips_B2, steps_BT2, _head(inputs.valence_arousal, "valence_arousal"), inputs.valid)


def _contrastive(train: Train, heads: Heads) -> ContrastiveLoss | None:
    if not heads.embedding:
        return None
    return ContrastiveLoss(
        present=heads.present,
        rows=train.batch_clips,
        width=heads.embedding,
        texts=heads.texts,
        seed=heads.seed,
        info_nce=train.contrastive_kind == "info_nce",
    )


def _contrastive_sums(loss: ContrastiveLoss, inputs: LossInputs, rank: int, world: int) -> Tensor:
    labels_B = inputs.clip_labels.masked_fill(~inputs.valid.any(-1), UNLABELLED)
    return loss.sums(_head(inputs.output.embedding, "embedding"), labels_B, rank=rank, world=world)


# As `ADDITIVE`, summed after them.
JOINT: dict[str, Joint] = {
    "valence_arousal": Joint(lambda train: train.valence_arousal_loss, _affect, _affect_sums),
    "contrastive": Joint(lambda train: train.contrastive_loss, _contrastive, _contrastive_sums),
}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weighted sum of the parts that have a weight, and of the joint ones whose head the model has."""

    config: Train
    targets: Targets
    joint_losses: Mapping[str, JointLoss] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(
        cls,
        config: Train,
        *,
        step_counts: Sequence[float],
        clip_counts: Sequence[float],
        valence_arousal: bool = False,
        embedding: int = 0,
        texts: Tensor | None = None,
        seed: int = 0,
    ) -> Objective:
        """From how often each class labels a step and a clip in training. Other arguments: see `Heads`."""
        kind, tau = config.class_weighting, config.logit_adjustment
        targets = Targets(
            step_balance=ClassBalance.of(step_counts, kind, tau),
            clip_balance=ClassBalance.of(clip_counts, kind, tau),
            present=tuple(bool(step or clip) for step, clip in zip(step_counts, clip_counts, strict=True)),
            smoothing=config.label_smoothing,
        )
        heads = Heads(
            valence_arousal=valence_arousal, embedding=embedding, present=targets.present, texts=texts, seed=seed
        )
        candidates = {name: part.make(config, heads) for name, part in JOINT.items() if part.weight(config) > 0}
        joint_losses = {name: loss for name, loss in candidates.items() if loss is not None}
        return cls(config=config, targets=targets, joint_losses=joint_losses)

    def to(self, device: torch.device) -> dict[str, Tensor]:
        """Moves the learned parameters of the loss itself, and returns them by name."""
        modules = [loss for loss in self.joint_losses.values() if isinstance(loss, nn.Module)]
        return {name: value for module in modules for name, value in module.to(device).named_parameters()}

    @property
    def scale(self) -> dict[str, float]:
        """Part → its share in the loss, those of `parts` before the joint ones; parts of share 0 are not computed."""
        return {**self.additive, **self.joint}

    @property
    def joint(self) -> dict[str, float]:
        """The joint parts and their shares in the loss."""
        return {name: JOINT[name].weight(self.config) for name in self.joint_losses}

    @property
    def joint_sizes(self) -> list[int]:
        """The number of `joint_sums` of each joint part."""
        return [loss.size for loss in self.joint_losses.values()]

    @property
    def additive(self) -> dict[str, float]:
        """The parts that are sums over clips, and their shares in the loss."""
        shares = {name: part.weight(self.config) for name, part in ADDITIVE.items()}
        return {name: share for name, share in shares.items() if share > 0}

    def inputs(
        self,
        output: ModelOutput,
        masks: Mapping[str, Tensor],
        step_labels: Tensor,
        clip_labels: Tensor,
        valence_arousal: Tensor | None = None,
    ) -> LossInputs:
        """The inputs of the parts, for one worker's clips."""
        return LossInputs(
            targets=self.targets,
            output=output,
            masks=masks,
            step_labels=step_labels,
            clip_labels=clip_labels,
            valence_arousal=valence_arousal,
        )

    def parts(self, inputs: LossInputs) -> dict[str, LossPart]:
        """Each part of the loss over one worker's clips."""
        return {name: ADDITIVE[name].of(inputs) for name in self.additive}

    def joint_sums(self, inputs: LossInputs, *, rank: int, world: int) -> Tensor:
        """One worker's summands of the joint parts, flat and float64.

        Raises:
            ModelError: the model lacks the head of a joint part.
        """
        empty = inputs.output.clip_logits.new_zeros(0, dtype=torch.float64)
        sums = [JOINT[name].sums(loss, inputs, rank, world) for name, loss in self.joint_losses.items()]
        return torch.cat([empty, *sums])

    def joint_values(self, sums: Tensor) -> list[Tensor]:
        """The joint parts of the global batch from the sums over all workers, scalars in the order of `joint`."""
        losses = self.joint_losses.values()
        return [loss.value(part) for loss, part in zip(losses, torch.split(sums, self.joint_sizes), strict=True)]


def _head(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ModelError("the model has no head for a part of its loss", where=name)
    return value
