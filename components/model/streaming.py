"""A causal model step by step: the same numbers as over the whole sequence, at a cost that does not grow.

Legend: B streams side by side (the clips of `TemporalModel`), D feature width, K classes. Masks are True = valid.

What the past still says is in the state alone: the last inputs of every dilated convolution, the keys and values
within the attention window, a running softmax and maximum for each clip head, and running sums for the statistics of
the clip. All have a fixed size. A step reads one state and returns another, so a step can be tried again, and a stream
can go on from any state that was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from components.contracts.errors import ModelError
from components.model.attention import Told
from components.model.heads import RunningSoftmax
from components.model.model import TemporalModel
from components.model.statistics import RunningMoments
from components.model.temporal import TemporalEncoder


class StepOutput(NamedTuple):
    """Scores before softmax: of this step, and of the clip that the steps so far make.

    Each is what `TemporalModel` gives for the prefix that ends with this step: (B, K), unimodal ones a modality;
    valence and arousal (B, 2), None without that head.
    """

    step_logits: Tensor
    unimodal_step_logits: dict[str, Tensor]
    clip_logits: Tensor
    unimodal_clip_logits: dict[str, Tensor]
    valence_arousal: Tensor | None = None
    step_valence_arousal: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """All that a stream remembers. It belongs to the weights that made it; with others it means nothing.

    Attributes:
        encoders: modality → the past of each convolution.
        told: modality → keys and values within the attention window; empty without attention.
        clip: the fused clip so far; None where nothing is fused (`fusion: product`).
        unimodal: modality → its own clip so far.
        statistics: modality → sums of its features so far; empty without that head.
    """

    encoders: Mapping[str, tuple[Tensor, ...]]
    told: Mapping[str, Told]
    clip: RunningSoftmax | None
    unimodal: Mapping[str, RunningSoftmax]
    statistics: Mapping[str, RunningMoments]

    @property
    def clips(self) -> int:
        """B, how many streams run side by side."""
        return next(iter(self.unimodal.values())).peak.shape[0]

    def to_tensors(self) -> dict[str, Tensor]:
        """Named, contiguous tensors that share no memory: as `safetensors` wants them."""
        named = {
            f"encoder.{name}.{index}": tensor
            for name, past in self.encoders.items()
            for index, tensor in enumerate(past)
        }
        for name, told in self.told.items():
            named |= {f"told.{name}.{field}": tensor for field, tensor in told._asdict().items()}
        if self.clip is not None:
            named |= {f"clip.{field}": tensor for field, tensor in self.clip._asdict().items()}
        for name, pool in self.unimodal.items():
            named |= {f"unimodal.{name}.{field}": tensor for field, tensor in pool._asdict().items()}
        for name, moments in self.statistics.items():
            named |= {f"statistics.{name}.{field}": tensor for field, tensor in moments._asdict().items()}
        return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in named.items()}


class StreamingModel:
    """Step-by-step inference of a causal model, of which it uses the layers as they are.

    A step costs O(kernel) a convolution and O(window) a pair of modalities, in time and memory, however long the
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
            told={} if attention is None else attention.start(clips),
            clip=None if clip_head is None else clip_head.start(clips),
            unimodal={name: head.start(clips) for name, head in self.model.clip_heads.items()},
            statistics={} if self.model.statistics is None else self.model.statistics.start(clips),
        )

    @torch.inference_mode()
    def step(
        self, features: Mapping[str, Tensor], present: Mapping[str, Tensor], state: StreamState
    ) -> tuple[StepOutput, StreamState]:
        """One step of every stream: {m: (B, D)}, {m: (B,)} → its scores, and the state for the next step.

        A modality that is left out of both mappings is absent at this step. Values where a modality is absent, NaN
        included, are never read.

        Raises:
            ModelError: no modality at all, one the model does not have, a shape, width or number of streams that does
                not fit, or NaN or infinity where a modality is present. The state given stays good.
        """
        self._check(features, present, state)
        values, masks = self.model.complete(
            {name: values_BD.unsqueeze(1) for name, values_BD in features.items()},
            {name: mask_B.unsqueeze(1) for name, mask_B in present.items()},
        )
        own, encoders = {}, {}
        for name, encoder in self._encoders.items():
            own[name], encoders[name] = encoder.advance(values[name], masks[name], state.encoders[name])
        streams, told = own, dict(state.told)
        if self.model.attention is not None:
            streams, told = self.model.attention.advance(own, masks, state.told)
        fused_BTW = self.model.fusion(streams, masks)
        summaries, unimodal = {}, {}
        for name, head in self.model.clip_heads.items():
            summaries[name], unimodal[name] = head.advance(own[name], masks[name], state.unimodal[name])
        seen = {name: pool.any for name, pool in unimodal.items()}
        clip = None
        if self.model.clip_head is None or state.clip is None:
            summary_BW = self.model.fusion(summaries, seen)
        else:
            any_BT = torch.stack(list(masks.values())).any(0)
            summary_BW, clip = self.model.clip_head.advance(fused_BTW, any_BT, state.clip)
        by_modality = {} if self.model.statistics is None else self.model.statistics.by_modality
        told_of, statistics = {}, {}
        for name, layer in by_modality.items():
            told_of[name], statistics[name] = layer.advance(values[name], masks[name], state.statistics[name])
        decided = self.model.decide(
            own,
            fused_BTW,
            masks,
            summaries=summaries,
            summary_BW=summary_BW,
            statistics=told_of,
            present=seen,
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
        )
        return output, StreamState(encoders=encoders, told=told, clip=clip, unimodal=unimodal, statistics=statistics)

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> StreamState:
        """The state that `StreamState.to_tensors` wrote, perhaps in another process, on this model's device.

        Raises:
            ModelError: a tensor is missing, unknown or misshapen: the state is of a model of another spec.
        """
        peak = next((tensor for name, tensor in sorted(tensors.items()) if name.endswith(".peak")), None)
        blank = self.start(peak.shape[0] if peak is not None and peak.ndim == 1 else 1)
        own = blank.to_tensors()
        for name in sorted(own.keys() | tensors.keys()):
            seen = _words(tensors[name]) if name in tensors else "missing"
            allowed = _words(own[name]) if name in own else "no such tensor"
            if seen != allowed:
                raise ModelError("this state is of another model", where=name, seen=seen, allowed=allowed)
        moved = {name: tensor.to(own[name].device) for name, tensor in tensors.items()}
        return StreamState(
            encoders={
                name: tuple(moved[f"encoder.{name}.{index}"] for index in range(len(past)))
                for name, past in blank.encoders.items()
            },
            told={name: Told(*(moved[f"told.{name}.{field}"] for field in Told._fields)) for name in blank.told},
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
        """What a step asks beyond `TemporalModel.complete`, which names modalities and widths that do not fit."""
        for name in features.keys() & present.keys():
            values_BD, mask_B = features[name], present[name]
            if values_BD.ndim != 2 or mask_B.shape != values_BD.shape[:1] or mask_B.dtype != torch.bool:
                raise ModelError(
                    "a step takes features (B, D) and present (B,) of booleans",
                    where=f"modality {name}",
                    seen=f"{_words(values_BD)} and {_words(mask_B)}",
                )
            if len(mask_B) != state.clips:
                raise ModelError(
                    "the state is of another number of streams",
                    where=f"modality {name}",
                    seen=len(mask_B),
                    allowed=state.clips,
                    remedy="Start as many streams as a step brings: start(clips=B).",
                )
            # Unlike a clip, a stream would never recover: its running sums keep what they were given.
            if not values_BD[mask_B].isfinite().all():
                raise ModelError(
                    "NaN or infinity in the features of a step",
                    where=f"modality {name}",
                    remedy="Mark the modality as absent at such a step.",
                )


def _words(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
