"""The interface of every model: its inputs, its outputs, and the checks that all models share.

Legend: B clips, T steps, D feature width, W embedding width, K classes. Masks are True = valid; padding is a step at
which every mask is False, and no output at a valid step depends on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.contracts.errors import ModelError, nearest
from components.model.spec import ModelSpec

# The score of a class without training clips: its probability is exactly 0 in fp32 at any sane temperature, and it
# stays finite, so that losses, JSON and temperature scaling need no special case.
ABSENT_LOGIT = -1e4


class ClipFeatures(NamedTuple):
    """One clip before it is batched: {m: (T, D)}, {m: (T,)}."""

    features: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]


class MixedTargets(NamedTuple):
    """Training targets that replace the batch's own clips, or steps: `scores` (R, K) of them after noise and mixing.

    Row r counts with `weight` (R,) as an example of the class of item `item` (R,): a clip of the batch, or a step,
    counted through all clips of the padded batch. A mixture of two items has two rows, one per item.
    """

    scores: Tensor
    item: Tensor
    weight: Tensor


class ModelOutput(NamedTuple):
    """Scores before softmax. Values at invalid steps are meaningless.

    The unimodal scores come from a modality's own stream before any cross-attention, so they depend on that modality
    alone: contradiction is measured on them. A model without such heads gives empty mappings.

    Attributes:
        step_logits: (B, T, K); clip_logits: (B, K).
        clip_ways: {way of reading a clip: (B, K)} where `clip_logits` averages several: each has its own loss.
        mixed_targets: {way of reading a clip: its training targets}, in training, for ways that add noise or mix clips.
        step_ways: {way of reading a step: (B, T, K)}, mixed_step_targets: as for clips; empty where steps are read in
            one way (`ModelSpec.utterances`).
        unimodal_clip_logits: {m: (B, K)}; unimodal_step_logits: {m: (B, T, K)}.
        valence_arousal: (B, 2) in [-1, 1], step_valence_arousal: (B, T, 2); None without that head.
        embedding: (B, W) of length 1, what a contrastive loss compares with a text; None without that head.
    """

    step_logits: Tensor
    clip_logits: Tensor
    unimodal_clip_logits: dict[str, Tensor]
    unimodal_step_logits: dict[str, Tensor]
    valence_arousal: Tensor | None = None
    step_valence_arousal: Tensor | None = None
    embedding: Tensor | None = None
    clip_ways: Mapping[str, Tensor] = MappingProxyType({})
    mixed_targets: Mapping[str, MixedTargets] = MappingProxyType({})
    step_ways: Mapping[str, Tensor] = MappingProxyType({})
    mixed_step_targets: Mapping[str, MixedTargets] = MappingProxyType({})


class EmotionModel(nn.Module, ABC):
    """A model of a spec. Make one with `components.model.build.build_model`."""

    absent: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        absent = [name in spec.absent for name in spec.classes]
        self.register_buffer("absent", torch.tensor(absent), persistent=False)

    @abstractmethod
    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> ModelOutput:
        """{m: (B, T, D)}, {m: (B, T)} → `ModelOutput`.

        A modality of the model that is missing from both mappings counts as absent from every clip. Values at invalid
        steps, NaN included, are never read.

        Raises:
            ModelError: no modality, a modality that the model does not have, or a shape that does not fit.
        """

    def set_from(self, clips: Sequence[ClipFeatures]) -> None:
        """Sets the weights that are not learned but computed from the training clips; by default there are none."""

    @property
    def fixed(self) -> frozenset[str]:
        """Names of the weights that training leaves as they are, those of an encoder's layers; by default none."""
        return frozenset()

    def close(self, logits: Tensor) -> Tensor:
        """(…, K) → (…, K), with `ABSENT_LOGIT` for classes without training clips."""
        return logits.masked_fill(self.absent, ABSENT_LOGIT)

    def complete(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every modality of the model, in its order: as given, or absent everywhere.

        Raises:
            ModelError: as `forward`.
        """
        names, where = self.spec.names, type(self).__name__
        if not features or features.keys() != masks.keys():
            raise ModelError(
                "features and masks must name the same modalities, at least one",
                where=where,
                seen=f"features {sorted(features)}, masks {sorted(masks)}",
                allowed=", ".join(names),
            )
        for name, values in features.items():
            if name not in names:
                raise ModelError(
                    "the model has no such modality",
                    where=where,
                    seen=name,
                    allowed=", ".join(names),
                    remedy=nearest(name, names),
                )
            if values.ndim != 3 or values.shape[:2] != masks[name].shape:
                raise ModelError(
                    "features must be (B, T, D) and masks (B, T)",
                    where=f"modality {name}",
                    seen=f"{tuple(values.shape)} and {tuple(masks[name].shape)}",
                )
            self.spec.check(modalities={name: values.shape[-1]})
        shapes = {tuple(mask.shape) for mask in masks.values()}
        if len(shapes) > 1:
            raise ModelError("modalities differ in clips or steps", where=where, seen=sorted(shapes))
        first_mask, first_values = next(iter(masks.values())), next(iter(features.values()))
        filled, complete = {}, {}
        for name in names:
            if name in features:
                filled[name], complete[name] = features[name], masks[name]
            else:
                filled[name] = first_values.new_zeros((*first_mask.shape, self.spec.modalities[name]))
                complete[name] = torch.zeros_like(first_mask)
        return filled, complete


def count_parameters(model: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
