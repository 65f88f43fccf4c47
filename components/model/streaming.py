"""A causal model step by step: the same numbers as over the whole sequence, at a cost that does not grow.

Legend: B streams side by side (the clips of `TemporalModel`), D feature width, K classes. Masks are True = valid.

Everything that depends on the past is in the state: the last inputs of every dilated convolution, the keys and values
within the attention window, a running softmax and maximum for each clip head, and running sums for the statistics of
the clip. All have a fixed size. A step reads one state and returns a new one, so a step can be tried again, and a
stream can go on from any state that was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from torch import Tensor

from components.contracts.errors import ModelError
from components.model.attention import KeyValues
from components.model.heads import RunningSoftmax
from components.model.model import TemporalModel
from components.model.statistics import RunningMoments
from components.model.temporal import TemporalEncoder


class StepOutput(NamedTuple):
    """Scores before softmax: of this step, and of the clip that consists of the steps so far.

    Each is what `TemporalModel` returns for the prefix that ends with this step: (B, K), unimodal ones per modality,
    others per way of reading a step or a clip; valence and arousal (B, 2), None without that head.
    """

    step_logits: Tensor
    unimodal_step_logits: dict[str, Tensor]
    clip_logits: Tensor
    unimodal_clip_logits: dict[str, Tensor]
    valence_arousal: Tensor | None = None
    step_valence_arousal: Tensor | None = None
    step_ways: Mapping[str, Tensor] = MappingProxyType({})
    clip_ways: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """The whole state of a stream. It is valid only with the weights that produced it.

    Attributes:
        encoders: modality → the past of each convolution.
        key_value_cache: modality → keys and values within the attention window; empty without attention.
        clip: the fused clip so far; None where nothing is fused (`fusion: product`).
        unimodal: modality → its own clip so far.
        statistics: modality → sums of its features so far; empty without that head.
    """

    encoders: Mapping[str, tuple[Tensor, ...]]
    key_value_cache: Mapping[str, KeyValues]
    clip: RunningSoftmax | None
    unimodal: Mapping[str, RunningSoftmax]
    statistics: Mapping[str, RunningMoments]

    @property
    def clips(self) -> int:
        """B, how many streams run side by side."""
        return next(iter(self.unimodal.values())).peak.shape[0]

    def to_tensors(self) -> dict[str, Tensor]:
        """Named, contiguous tensors that share no memory, as `safetensors` requires; the names are a stored format."""
        named = {
            f"encoder.{name}.{index}": tensor
            for name, past in self.encoders.items()
            for index, tensor in enumerate(past)
        }
        for name, cache in self.key_value_cache.items():
            named |= {f"told.{name}.{field}": tensor for field, tensor in cache._asdict().items()}
        if self.clip is not None:
            named |= {f"clip.{field}": tensor for field, tensor in self.clip._asdict().items()}
        for name, pool in self.unimodal.items():
            named |= {f"unimodal.{name}.{field}": tensor for field, tensor in pool._asdict().items()}
        for name, moments in self.statistics.items():
            named |= {f"statistics.{name}.{field}": tensor for field, tensor in moments._asdict().items()}
        return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in named.items()}


class StreamingModel:
    """Step-by-step inference with the layers of a causal model, as they are.

    A step costs O(kernel) per convolution and O(window) per pair of modalities, in time and memory, however long the
    stream has run.

    Raises:
        ModelError: the model is not causal, or in training mode.
    """

    def __init__(self, model: TemporalModel) -> None:
        if not model.spec.model.causal:
            raise ModelError(
                "this model needs later steps, so it cannot run step by step",
                where="StreamingModel",
                seen="model.causal: false",
                allowed="true",
                remedy="Train with model.causal: true, or score whole clips.",
            )
        if model.training:
            raise ModelError(
                "a stream needs the model in evaluation mode",
                where="StreamingModel",
                seen="training mode",
                remedy="Call model.eval() first.",
            )
        self.model = model
        self._encoders = {name: cast(TemporalEncoder, layer) for name, layer in model.encoders.items()}

    def start(self, clips: int = 1) -> StreamState:
        """The state before the first step of `clips` streams that run side by side."""
        attention, clip_head = self.model.attention, self.model.clip_head
        return StreamState(
            encoders={name: encoder.start(clips) for name, encoder in self._encoders.items()},
            key_value_cache={} if attention is None else attention.start(clips),
            clip=None if clip_head is None else clip_head.start(clips),
            unimodal={name: head.start(clips) for name, head in self.model.clip_heads.items()},
            statistics={
                name: layer.start(clips)
                for name, layer in ({} if self.model.statistics is None else self.model.statistics.by_modality).items()
            },
        )

    @torch.inference_mode()
    def step(
        self, features: Mapping[str, Tensor], present: Mapping[str, Tensor], state: StreamState
    ) -> tuple[StepOutput, StreamState]:
        """One step of every stream: {m: (B, D)}, {m: (B,)} → its scores, and the state for the next step.

        A modality that is missing from both mappings is absent at this step. Values where a modality is absent, NaN
        included, are never read.

        Raises:
            ModelError: no modality, one that the model does not have, a shape, width or number of streams that does not
                fit, or NaN or infinity where a modality is present. The state passed in stays valid.
        """
        self._check(features, present, state)
        values, masks = self.model.complete(
            {name: values_BD.unsqueeze(1) for name, values_BD in features.items()},
            {name: mask_B.unsqueeze(1) for name, mask_B in present.items()},
        )
        own, encoders = {}, {}
        for name, encoder in self._encoders.items():
            own[name], encoders[name] = encoder.advance(values[name], masks[name], state.encoders[name])
        streams, key_value_cache = own, dict(state.key_value_cache)
        if self.model.attention is not None:
            streams, key_value_cache = self.model.attention.advance(own, masks, state.key_value_cache)
        fused_BTW = self.model.fusion(streams, masks)
        summaries, unimodal = {}, {}
        for name, head in self.model.clip_heads.items():
            summaries[name], unimodal[name] = head.advance(own[name], masks[name], state.unimodal[name])
        observed = {name: pool.any for name, pool in unimodal.items()}
        clip = None
        if self.model.clip_head is None or state.clip is None:
            summary_BW = self.model.fusion(summaries, observed)
        else:
            any_BT = torch.stack(list(masks.values())).any(0)
            summary_BW, clip = self.model.clip_head.advance(fused_BTW, any_BT, state.clip)
        by_modality = {} if self.model.statistics is None else self.model.statistics.by_modality
        clip_statistics, statistics = {}, {}
        for name, layer in by_modality.items():
            clip_statistics[name], statistics[name] = layer.advance(values[name], masks[name], state.statistics[name])
        decided = self.model.decide(
            own,
            fused_BTW,
            masks,
            summaries=summaries,
            summary_BW=summary_BW,
            statistics=clip_statistics,
            present=observed,
            step_statistics=self.model.of_steps(values, masks),
        )
        output = StepOutput(
            step_logits=decided.step_logits.squeeze(1),
            unimodal_step_logits={name: scores.squeeze(1) for name, scores in decided.unimodal_step_logits.items()},
            clip_logits=decided.clip_logits,
            unimodal_clip_logits=decided.unimodal_clip_logits,
            valence_arousal=decided.valence_arousal,
            step_valence_arousal=(
                None if decided.step_valence_arousal is None else decided.step_valence_arousal.squeeze(1)
            ),
            step_ways={name: scores.squeeze(1) for name, scores in decided.step_ways.items()},
            clip_ways=decided.clip_ways,
        )
        return output, StreamState(
            encoders=encoders, key_value_cache=key_value_cache, clip=clip, unimodal=unimodal, statistics=statistics
        )

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> StreamState:
        """The state that `StreamState.to_tensors` wrote, perhaps in a different process, on this model's device.

        Raises:
            ModelError: a tensor is missing, unknown or misshapen: the state belongs to a model of a different spec.
        """
        peak = next((tensor for name, tensor in sorted(tensors.items()) if name.endswith(".peak")), None)
        blank = self.start(peak.shape[0] if peak is not None and peak.ndim == 1 else 1)
        own = blank.to_tensors()
        for name in sorted(own.keys() | tensors.keys()):
            stored = _shape_and_type(tensors[name]) if name in tensors else "missing"
            expected = _shape_and_type(own[name]) if name in own else "no such tensor"
            if stored != expected:
                raise ModelError("this state belongs to a different model", where=name, seen=stored, allowed=expected)
        moved = {name: tensor.to(own[name].device) for name, tensor in tensors.items()}
        return StreamState(
            encoders={
                name: tuple(moved[f"encoder.{name}.{index}"] for index in range(len(past)))
                for name, past in blank.encoders.items()
            },
            key_value_cache={
                name: KeyValues(*(moved[f"told.{name}.{field}"] for field in KeyValues._fields))
                for name in blank.key_value_cache
            },
            clip=None
            if blank.clip is None
            else RunningSoftmax(*(moved[f"clip.{field}"] for field in RunningSoftmax._fields)),
            unimodal={
                name: RunningSoftmax(*(moved[f"unimodal.{name}.{field}"] for field in RunningSoftmax._fields))
                for name in blank.unimodal
            },
            statistics={
                name: RunningMoments(*(moved[f"statistics.{name}.{field}"] for field in RunningMoments._fields))
                for name in blank.statistics
            },
        )

    def _check(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor], state: StreamState) -> None:
        """The requirements of a step beyond `TemporalModel.complete`, which checks modalities and widths."""
        for name in features.keys() & present.keys():
            values_BD, mask_B = features[name], present[name]
            if values_BD.ndim != 2 or mask_B.shape != values_BD.shape[:1] or mask_B.dtype != torch.bool:
                raise ModelError(
                    "a step takes features (B, D) and present (B,) of booleans",
                    where=f"modality {name}",
                    seen=f"{_shape_and_type(values_BD)} and {_shape_and_type(mask_B)}",
                )
            if len(mask_B) != state.clips:
                raise ModelError(
                    "the state is of a different number of streams",
                    where=f"modality {name}",
                    seen=len(mask_B),
                    allowed=state.clips,
                    remedy="Start as many streams as there are rows in a step: start(clips=B).",
                )
            # Unlike a clip, a stream would never recover: its running sums keep every value.
            if not values_BD[mask_B].isfinite().all():
                raise ModelError(
                    "NaN or infinity in the features of a step",
                    where=f"modality {name}",
                    remedy="Mark the modality as absent at such a step.",
                )


def _shape_and_type(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
