"""The temporal model: projection → TCN → cross-attention → gated fusion → heads, for any set of modalities.

Legend: B clips, T steps, D feature width, W channels, K classes. Masks are True = valid; padding is a step at which
every mask is False, and no output at a valid step depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from components.model.attention import CrossAttention
from components.model.base import EmotionModel, ModelOutput
from components.model.fusion import Concatenation, GatedFusion
from components.model.heads import ClipHead, StepHead
from components.model.spec import ModelSpec
from components.model.temporal import TemporalEncoder


class TemporalModel(EmotionModel):
    """The model of a spec, with fresh weights."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
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

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> ModelOutput:
        """{m: (B, T, D)}, {m: (B, T)} → `ModelOutput`; see `EmotionModel.forward`."""
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


def cross_pairs(names: tuple[str, ...], fusion: str) -> list[tuple[str, str]]:
    """The ordered (query, key) pairs of a kind of fusion; none for "concatenation" or a single modality."""
    if fusion == "concatenation":
        return []
    pairs = [(query, key) for query in names for key in names if query != key]
    return pairs if fusion == "bidirectional" else [pair for pair in pairs if pair[0] == names[0]]
