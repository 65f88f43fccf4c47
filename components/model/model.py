"""The temporal model: projection → TCN → cross-attention → gated fusion → heads, for any set of modalities.

Legend: B clips, T steps, D feature width, W channels, K classes. Masks are True = valid; padding is a step at which
every mask is False, and no output at a valid step depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from components.contracts.errors import ModelError, nearest
from components.model.attention import CrossAttention
from components.model.fusion import Concatenation, GatedFusion
from components.model.heads import ClipHead, StepHead
from components.model.spec import ModelSpec
from components.model.temporal import TemporalEncoder

# The score of a class that training never saw: its probability is exactly 0 in fp32 at any sane temperature, and it
# stays finite, so that losses, JSON and temperature scaling need no special case.
ABSENT_LOGIT = -1e4


class ModelOutput(NamedTuple):
    """Scores before softmax. Values at invalid steps mean nothing.

    The unimodal scores come from a modality's own stream before any cross-attention, so they are that modality's
    own opinion: what a contradiction is measured on.
    """

    step_logits: Tensor
    clip_logits: Tensor
    unimodal_clip_logits: dict[str, Tensor]
    unimodal_step_logits: dict[str, Tensor]


class TemporalModel(nn.Module):
    """The model of a spec, with fresh weights."""

    absent: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        config, names, classes = spec.model, spec.names, len(spec.classes)
        self.encoders = nn.ModuleDict(
            {
                name: TemporalEncoder(
                    spec.modalities[name],
                    config.width,
                    blocks=config.tcn_blocks,
                    kernel=config.tcn_kernel,
                    causal=config.causal,
                    dropout=config.dropout,
                )
                for name in names
            }
        )
        pairs = cross_pairs(names, config.fusion)
        self.attention = (
            CrossAttention(
                names,
                config.width,
                heads=config.heads,
                pairs=pairs,
                window_steps=max(1, round(config.attention_window_s * spec.rate_hz)),
                rate_hz=spec.rate_hz,
                causal=config.causal,
                dropout=config.dropout,
            )
            if pairs
            else None
        )
        self.fusion: GatedFusion | Concatenation = (
            Concatenation(names, config.width, dropout=config.dropout)
            if config.fusion == "concatenation"
            else GatedFusion(names, config.width, dropout=config.dropout, conflict=config.conflict_features)
        )
        self.step_head = StepHead(config.width, classes)
        self.clip_head = ClipHead(config.width, classes, dropout=config.dropout)
        self.unimodal_step = nn.ModuleDict({name: StepHead(config.width, classes) for name in names})
        self.unimodal_clip = nn.ModuleDict(
            {name: ClipHead(config.width, classes, dropout=config.dropout) for name in names}
        )
        absent = [name in spec.absent for name in spec.classes]
        self.register_buffer("absent", torch.tensor(absent), persistent=False)

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> ModelOutput:
        """{m: (B, T, D)}, {m: (B, T)} → `ModelOutput`.

        A modality of the model that is left out of both mappings counts as absent from every clip. Values at invalid
        steps, NaN included, are never read.

        Raises:
            ModelError: no modality at all, a modality the model does not have, or a shape that does not fit.
        """
        features, masks = self.complete(features, masks)
        own = {name: encoder(features[name], masks[name]) for name, encoder in self.encoders.items()}
        streams = own if self.attention is None else self.attention(own, masks)
        fused_BTW = self.fusion(streams, masks)
        any_BT = torch.stack(list(masks.values())).any(0)
        return ModelOutput(
            step_logits=self.close(self.step_head(fused_BTW)),
            clip_logits=self.close(self.clip_head(fused_BTW, any_BT)),
            unimodal_clip_logits={
                name: self.close(head(own[name], masks[name])) for name, head in self.unimodal_clip.items()
            },
            unimodal_step_logits={name: self.close(head(own[name])) for name, head in self.unimodal_step.items()},
        )

    def close(self, logits: Tensor) -> Tensor:
        """(…, K) → (…, K), with `ABSENT_LOGIT` for classes that training never saw."""
        return logits.masked_fill(self.absent, ABSENT_LOGIT)

    def complete(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every modality of the model, in its order: as given, or absent everywhere.

        Raises:
            ModelError: as `forward`.
        """
        known = self.spec.names
        if not features or features.keys() != masks.keys():
            raise ModelError(
                "features and masks must name the same modalities, at least one",
                where="TemporalModel",
                seen=f"features {sorted(features)}, masks {sorted(masks)}",
                allowed=", ".join(known),
            )
        for name, values in features.items():
            if name not in known:
                raise ModelError(
                    "the model has no such modality",
                    where="TemporalModel",
                    seen=name,
                    allowed=", ".join(known),
                    remedy=nearest(name, known),
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
            raise ModelError("modalities differ in clips or steps", where="TemporalModel", seen=sorted(shapes))
        some_mask, some_values = next(iter(masks.values())), next(iter(features.values()))
        filled, complete = {}, {}
        for name in known:
            if name in features:
                filled[name], complete[name] = features[name], masks[name]
            else:
                filled[name] = some_values.new_zeros((*some_mask.shape, self.spec.modalities[name]))
                complete[name] = torch.zeros_like(some_mask)
        return filled, complete


def cross_pairs(names: tuple[str, ...], fusion: str) -> list[tuple[str, str]]:
    """The ordered (query, key) pairs of a kind of fusion; none for "concatenation" or a single modality."""
    if fusion == "concatenation":
        return []
    pairs = [(query, key) for query in names for key in names if query != key]
    return pairs if fusion == "bidirectional" else [pair for pair in pairs if pair[0] == names[0]]


def count_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
