"""The temporal model: projection → TCN → cross-attention → gated fusion → heads, for any set of modalities.

A clip is scored from its streams, from the statistics of its features, or from both; the two ways are averaged as
log-probabilities, and each has its own loss, so that the one that overfits a training set does not keep the other from
learning.

With `fusion: product` there is no attention and nothing is fused before the heads: each modality's own scores are
multiplied, and the other outputs of a clip come from the mean of the modalities.

Legend: B clips, T steps, D feature width, W channels, K classes. Masks are True = valid; padding is a step at which
every mask is False, and no output at a valid step depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from components.model.attention import CrossAttention
from components.model.base import ClipFeatures, EmotionModel, MixedTargets, ModelOutput
from components.model.fusion import Concatenation, GatedFusion, MeanFusion, ProductOfExperts
from components.model.heads import AffectHead, ClipHead, EmbeddingHead, StepHead
from components.model.sparse import over_present
from components.model.spec import ModelSpec
from components.model.statistics import StatisticsHead
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
        self.fusion = _fusion(spec)
        product = config.fusion == "product"
        self.step_head = None if product else StepHead(config.width, classes)
        self.clip_head = None if product else ClipHead(config.width, classes, dropout=config.dropout)
        self.step_experts = ProductOfExperts(names) if product else None
        self.clip_experts = ProductOfExperts(names) if product else None
        self.unimodal_step = nn.ModuleDict({name: StepHead(config.width, classes) for name in names})
        self.unimodal_clip = nn.ModuleDict(
            {name: ClipHead(config.width, classes, dropout=config.dropout) for name in names}
        )
        self.statistics = (
            None
            if config.clip_head == "temporal"
            else StatisticsHead(
                {name: spec.modalities[name] for name in names},
                classes,
                hidden=config.statistics_width,
                dropout=config.statistics_dropout,
                noise=config.statistics_noise,
                mixup=config.statistics_mixup,
            )
        )
        self.affect = AffectHead(config.width, dropout=config.dropout) if spec.valence_arousal else None
        self.embedding = EmbeddingHead(config.width, spec.embedding) if spec.embedding else None

    @property
    def clip_heads(self) -> dict[str, ClipHead]:
        """Each modality's own clip head."""
        return {name: cast(ClipHead, head) for name, head in self.unimodal_clip.items()}

    def set_from(self, clips: Sequence[ClipFeatures]) -> None:
        """Sets the centre and spread that standardise the statistics of a clip."""
        by_modality = {} if self.statistics is None else self.statistics.by_modality
        for name, layer in by_modality.items():
            layer.set_from(
                (torch.from_numpy(clip.features[name]), torch.from_numpy(clip.masks[name])) for clip in clips
            )

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> ModelOutput:
        """{m: (B, T, D)}, {m: (B, T)} → `ModelOutput`; see `EmotionModel.forward`.

        Memory is O(T · W) per modality beside one block of attention. Without gradients that is about 12 kB per step at
        the default sizes with four modalities, beside the features: half a GB for an hour at 10 Hz.
        """
        features, masks = self.complete(features, masks)
        width = self.spec.model.width
        own = {
            name: over_present(encoder, features[name], masks[name], width=width)
            for name, encoder in self.encoders.items()
        }
        streams = own if self.attention is None else self.attention(own, masks)
        fused_BTW = self.fusion(streams, masks)
        present = {name: mask.any(-1) for name, mask in masks.items()}
        summaries = {name: head.summary(own[name], masks[name]) for name, head in self.clip_heads.items()}
        if self.clip_head is None:
            summary_BW = self.fusion(summaries, present)
        else:
            summary_BW = self.clip_head.summary(fused_BTW, torch.stack(list(masks.values())).any(0))
        by_modality = {} if self.statistics is None else self.statistics.by_modality
        statistics = {
            name: over_present(layer, features[name], masks[name], width=2 * layer.width)
            for name, layer in by_modality.items()
        }
        return self.decide(
            own,
            fused_BTW,
            masks,
            summaries=summaries,
            summary_BW=summary_BW,
            statistics=statistics,
            present=present,
        )

    def decide(
        self,
        own: Mapping[str, Tensor],
        fused_BTW: Tensor,
        masks: Mapping[str, Tensor],
        *,
        summaries: Mapping[str, Tensor],
        summary_BW: Tensor,
        statistics: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> ModelOutput:
        """Every head, from the streams {m: (B, T, W)} and (B, T, W), the clips {m: (B, W)} and (B, W), and the clips'
        statistics {m: (B, S)}, empty without that head.

        `masks` {m: (B, T)} and `present` {m: (B,)} are True for valid steps and clips.
        """
        own_steps = {name: head(own[name]) for name, head in self.unimodal_step.items()}
        own_clips = {name: head.scores(summaries[name]) for name, head in self.clip_heads.items()}
        if self.step_experts is not None and self.clip_experts is not None:
            step_BTK = self.step_experts(own_steps, masks)
            clip_BK = self.clip_experts(own_clips, present)
        else:
            assert self.step_head is not None
            assert self.clip_head is not None
            step_BTK, clip_BK = self.step_head(fused_BTW), self.clip_head.scores(summary_BW)
        ways: dict[str, Tensor] = {}
        mixed_targets: dict[str, MixedTargets] = {}
        if self.statistics is not None:
            ways["statistics"] = self.close(self.statistics(statistics))
            if self.training:
                mixed = self.statistics.mixed_targets(statistics)
                mixed_targets["statistics"] = mixed._replace(scores=self.close(mixed.scores))
            if self.spec.model.clip_head == "all":
                ways["temporal"] = self.close(clip_BK)
            clip_BK = torch.stack([scores.float().log_softmax(-1) for scores in ways.values()]).mean(0)
        return ModelOutput(
            step_logits=self.close(step_BTK),
            clip_logits=self.close(clip_BK),
            clip_ways=ways,
            mixed_targets=mixed_targets,
            unimodal_clip_logits={name: self.close(scores) for name, scores in own_clips.items()},
            unimodal_step_logits={name: self.close(scores) for name, scores in own_steps.items()},
            valence_arousal=None if self.affect is None else self.affect.of_clip(summary_BW),
            step_valence_arousal=None if self.affect is None else self.affect.of_steps(fused_BTW),
            embedding=None if self.embedding is None else self.embedding(summary_BW),
        )


def _fusion(spec: ModelSpec) -> GatedFusion | Concatenation | MeanFusion:
    config = spec.model
    if config.fusion == "product":
        return MeanFusion(spec.names)
    if config.fusion == "concatenation":
        return Concatenation(spec.names, config.width, dropout=config.dropout)
    return GatedFusion(spec.names, config.width, dropout=config.dropout, conflict=config.conflict_features)


def cross_pairs(names: tuple[str, ...], fusion: str) -> list[tuple[str, str]]:
    """The ordered (query, key) pairs of a kind of fusion; none without attention or for a single modality."""
    if fusion in ("concatenation", "product"):
        return []
    pairs = [(query, key) for query in names for key in names if query != key]
    return pairs if fusion == "bidirectional" else [pair for pair in pairs if pair[0] == names[0]]
