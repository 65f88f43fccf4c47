"""The temporal model: projection → TCN → cross-attention → gated fusion → heads, for any set of modalities.

A clip is scored from its streams, from the statistics of its features, or from both; the two ways are averaged as
log-probabilities, and each has its own loss, so that the one that overfits a training set does not keep the other from
learning. So is a step where training clips have utterances with labels of their own (`ModelSpec.utterances`).

With `fusion: product` there is no attention and nothing is fused before the heads: each modality's own scores are
multiplied, and the other outputs of a clip come from the mean of the modalities.

Legend: B clips, T steps, D feature width, W channels, K classes. Masks are True = valid; padding is a step at which
every mask is False, and no output at a valid step depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from components.model.attention import CrossAttention
from components.model.base import ClipFeatures, EmotionModel, ModelOutput
from components.model.fusion import Concatenation, GatedFusion, MeanFusion, ProductOfExperts
from components.model.heads import AffectHead, ClipHead, EmbeddingHead, StepHead
from components.model.sparse import over_present
from components.model.spec import ModelSpec
from components.model.statistics import ClipStatistics, Layer, MomentsOfClips, StatisticsHead, StepFeatures, moments_of
from components.model.temporal import TemporalEncoder
from components.model.upper_layers import STRETCH_STEPS, UpperLayers
from components.model.ways import Ways, one_way, statistics_and

# Clips whose features behind an encoder's layers give the statistics that standardise them: at most half a GB.
UPPER_CLIPS = 1024


class TemporalModel(EmotionModel):
    """The model of a spec, with fresh weights."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        config, names, classes, widths = spec.model, spec.names, len(spec.classes), spec.read_widths
        self.encoders = nn.ModuleDict(
            {
                name: TemporalEncoder(
                    widths[name],
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
        reads_statistics = config.clip_head != "temporal"
        self.statistics = (
            _statistics_head(spec, {name: ClipStatistics(widths[name]) for name in names}) if reads_statistics else None
        )
        self.affect = AffectHead(config.width, dropout=config.dropout) if spec.valence_arousal else None
        self.embedding = EmbeddingHead(config.width, spec.embedding) if spec.embedding else None
        self.step_statistics = (
            _statistics_head(spec, {name: StepFeatures(widths[name]) for name in names})
            if reads_statistics and spec.utterances
            else None
        )
        # Last, so that a model without them draws the weights that it always had.
        self.upper = nn.ModuleDict(
            {
                name: UpperLayers(layers, frames=spec.modalities[name] // layers.width)
                for name, layers in sorted(spec.upper.items())
            }
        )

    @property
    def upper_layers(self) -> dict[str, UpperLayers]:
        """The layers of an encoder that are a part of this model, by modality."""
        return {name: cast(UpperLayers, layers) for name, layers in self.upper.items()}

    @property
    def fixed(self) -> frozenset[str]:
        """Names of the weights of encoders' layers that do not learn, and of the statistics behind them."""
        return frozenset(f"upper.{name}" for name, weight in self.upper.named_parameters() if not weight.requires_grad)

    @property
    def clip_heads(self) -> dict[str, ClipHead]:
        """Each modality's own clip head."""
        return {name: cast(ClipHead, head) for name, head in self.unimodal_clip.items()}

    def set_from(self, clips: Sequence[ClipFeatures]) -> None:
        """Sets the centre and spread that standardise what an encoder's layers give before they learn, the statistics
        of a clip, and those of a step. One pass over the clips, and one over some of them for each encoder's layers; 16
        bytes of memory per clip and feature of a step."""
        moments = {name: [moments_of(*pair) for pair in self._set_upper(name, clips)] for name in self.upper}
        layers: list[tuple[str, ClipStatistics | StepFeatures]] = []
        for head in (self.statistics, self.step_statistics):
            layers += [] if head is None else head.by_modality.items()
        plain = sorted({name for name, _ in layers} - moments.keys())
        of_plain = {name: MomentsOfClips(len(clips), self.spec.modalities[name]) for name in plain}
        for place, clip in enumerate(clips) if plain else ():
            for name, own in of_plain.items():
                own.put(place, moments_of(*_of_clip(name, clip)))
        for name, layer in layers:
            layer.set_from_moments(of_plain[name] if name in of_plain else moments[name])

    @torch.no_grad()
    def _set_upper(self, name: str, clips: Sequence[ClipFeatures]) -> list[tuple[Tensor, Tensor]]:
        """What the layers of a modality give for the first stretch of up to `UPPER_CLIPS` clips, evenly spread, under
        the statistics that they get from it: (T, D), (T,)."""
        layers = self.upper_layers[name]
        chosen = (clips[place] for place in range(0, len(clips), max(1, -(-len(clips) // UPPER_CLIPS))))
        pairs = [(x_TE[:STRETCH_STEPS], mask_T[:STRETCH_STEPS]) for x_TE, mask_T in _of(name, chosen)]
        pooled = [(layers.pooled(x_TE[None], mask_T[None])[0], mask_T) for x_TE, mask_T in pairs]
        layers.standardised.set_from(pooled)
        return [(layers.standardised(x_TD[None], mask_T[None])[0], mask_T) for x_TD, mask_T in pooled]

    def read(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{m: (B, T, D)} of all modalities → what the model reads of them: behind the layers of `upper`."""
        return {
            name: over_present(self.upper[name], x_BTD, masks[name], width=self.spec.read_widths[name])
            if name in self.upper
            else x_BTD
            for name, x_BTD in features.items()
        }

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> ModelOutput:
        """{m: (B, T, D)}, {m: (B, T)} → `ModelOutput`; see `EmotionModel.forward`.

        Memory is O(T · W) per modality beside one block of attention. Without gradients that is about 12 kB per step at
        the default sizes with four modalities, beside the features: half a GB for an hour at 10 Hz.
        """
        features, masks = self.complete(features, masks)
        features = self.read(features, masks)
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
            step_statistics=self.of_steps(features, masks),
        )

    def of_steps(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{m: (B, T, D)}, {m: (B, T)} → {m: (B, T, D)} of the steps, each by itself; empty without that head."""
        by_modality = {} if self.step_statistics is None else self.step_statistics.by_modality
        return {
            name: over_present(layer, features[name], masks[name], width=layer.size)
            for name, layer in by_modality.items()
        }

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
        step_statistics: Mapping[str, Tensor],
    ) -> ModelOutput:
        """Every head, from the streams {m: (B, T, W)} and (B, T, W), the clips {m: (B, W)} and (B, W), and the
        statistics of clips {m: (B, S)} and of steps {m: (B, T, D)}, empty without those heads.

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
        clip = self._read(self.statistics, statistics, clip_BK)
        valid_BT = torch.stack(list(masks.values())).any(0)
        step = self._read(self.step_statistics, step_statistics, step_BTK, valid_BT)
        return ModelOutput(
            step_logits=step.scores,
            clip_logits=clip.scores,
            clip_ways=clip.by_way,
            mixed_targets=clip.mixed,
            step_ways=step.by_way,
            mixed_step_targets=step.mixed,
            unimodal_clip_logits={name: self.close(scores) for name, scores in own_clips.items()},
            unimodal_step_logits={name: self.close(scores) for name, scores in own_steps.items()},
            valence_arousal=None if self.affect is None else self.affect.of_clip(summary_BW),
            step_valence_arousal=None if self.affect is None else self.affect.of_steps(fused_BTW),
            embedding=None if self.embedding is None else self.embedding(summary_BW),
        )

    def _read(
        self,
        head: StatisticsHead[ClipStatistics] | StatisticsHead[StepFeatures] | None,
        statistics: Mapping[str, Tensor],
        temporal: Tensor,
        valid: Tensor | None = None,
    ) -> Ways:
        """The ways of reading clips, or steps, from their statistics and the scores of what was learned over time."""
        if head is None:
            return one_way(self.close(temporal))
        both = self.spec.model.clip_head == "all"
        return statistics_and(head, statistics, temporal if both else None, close=self.close, valid=valid)


def _of(name: str, clips: Iterable[ClipFeatures]) -> Iterator[tuple[Tensor, Tensor]]:
    """(T, D) and (T,) of one modality of each clip."""
    return (_of_clip(name, clip) for clip in clips)


def _of_clip(name: str, clip: ClipFeatures) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(clip.features[name]), torch.from_numpy(clip.masks[name])


def _statistics_head(spec: ModelSpec, layers: Mapping[str, Layer]) -> StatisticsHead[Layer]:
    config = spec.model
    return StatisticsHead(
        layers,
        len(spec.classes),
        hidden=config.statistics_width,
        dropout=config.statistics_dropout,
        noise=config.statistics_noise,
        mixup=config.statistics_mixup,
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
