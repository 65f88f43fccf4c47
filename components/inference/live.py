"""The steps of a stream, as they come: from features of new steps, and what is kept of those before.

A causal model goes on from its state (`model.streaming`), at a cost per step that does not grow: the numbers are those
of the same model over the whole sequence of features. Any other model needs later steps that do not exist yet, so it
reads the last `HELD_S` seconds anew with each group of steps, and what it says of the newest is what it would say of a
clip that ends there. So does a causal one that reads modalities in groups (`together`).

Legend: T steps, D width, K classes, P steps before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from components.contracts.errors import DataError
from components.inference.scoring import Features, Logits, Masks, Scored, Scorer
from components.model.model import TemporalModel
from components.model.streaming import StepOutput, StreamingModel

HELD_S = 30.0
FEATURES, MASKS, STATE, EARLIER = "features/", "masks/", "state/", "earlier/"


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a stream keeps of its past, of a bounded size: by name, arrays of one format (`pack`)."""

    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def pack(self) -> bytes:
        """As safetensors."""
        return bytes(save({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}))

    @classmethod
    def unpack(cls, packed: bytes) -> Past:
        """From `pack`'s value; empty bytes are no past. Raises DataError on anything else."""
        try:
            return cls(arrays=load(packed) if packed else {})
        except (SafetensorError, ValueError, KeyError) as error:
            raise DataError("not the past of a stream", where="stream", seen=str(error)) from error

    def of(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """The arrays whose name begins so, by the rest of it."""
        return {name.removeprefix(prefix): value for name, value in self.arrays.items() if name.startswith(prefix)}


class StreamScorer:
    """Scores streams with the model of a scorer.

    Args:
        scorer: of a version.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        model = scorer.model
        by_step = isinstance(model, TemporalModel) and model.spec.model.causal and not scorer.calibration.together
        self._stepwise = StreamingModel(model) if by_step and isinstance(model, TemporalModel) else None

    @property
    def causal(self) -> bool:
        """Whether a step costs the same however long the stream has run, and never changes afterwards."""
        return self._stepwise is not None

    def advance(self, features: Features, masks: Masks, past: Past) -> tuple[Scored, Past]:
        """The outputs for T new steps {m: (T, D)}, {m: (T,)}, and the past of the next ones.

        Raises:
            DataError, ModelError: the past is not one of this model.
        """
        if self._stepwise is not None:
            return self._step_by_step(self._stepwise, features, masks, past)
        return self._read_anew(features, masks, past)

    def _step_by_step(
        self, stepwise: StreamingModel, features: Features, masks: Masks, past: Past
    ) -> tuple[Scored, Past]:
        kept = past.of(STATE)
        state = stepwise.from_tensors(_tensors(kept)) if kept else stepwise.start()
        values, valid = _tensors(features), _tensors(masks)
        outputs = []
        for step in range(_steps(masks)):
            output, state = stepwise.step(
                {name: value[step : step + 1] for name, value in values.items()},
                {name: mask[step : step + 1] for name, mask in valid.items()},
                state,
            )
            outputs.append(output)
        before = tuple(past.of(EARLIER))
        scored = self._scorer.calibrated(_logits(outputs), masks, earlier=before)
        present = {name for name, mask in masks.items() if mask.any()}
        arrays = {STATE + name: tensor.numpy() for name, tensor in state.to_tensors().items()}
        arrays |= {EARLIER + name: np.ones(1, bool) for name in sorted({*before, *present})}
        return scored, Past(arrays=arrays)

    def _read_anew(self, features: Features, masks: Masks, past: Past) -> tuple[Scored, Past]:
        held, steps = round(HELD_S * self._scorer.model.spec.rate_hz), _steps(masks)
        earlier, earlier_masks = past.of(FEATURES), past.of(MASKS)
        _check(earlier, earlier_masks, features)
        values, valid = dict(features), dict(masks)
        if earlier:
            values = {name: np.concatenate([earlier[name], rows]).astype(np.float32) for name, rows in values.items()}
            valid = {name: np.concatenate([earlier_masks[name], mask]).astype(bool) for name, mask in valid.items()}
        arrays: dict[str, NDArray[np.generic]] = {FEATURES + name: rows[-held:] for name, rows in values.items()}
        arrays |= {MASKS + name: mask[-held:] for name, mask in valid.items()}
        return last(self._scorer.score(values, valid), steps), Past(arrays=arrays)


def last(scored: Scored, steps: int) -> Scored:
    """The last steps of a clip's outputs; those of the clip stay."""
    mood = scored.step_valence_arousal
    return replace(
        scored,
        step_posterior=scored.step_posterior[-steps:],
        step_contradiction=scored.step_contradiction[-steps:],
        step_valence_arousal=None if mood is None else mood[-steps:],
        moments=None,
    )


def _steps(masks: Masks) -> int:
    return len(next(iter(masks.values())))


def _tensors(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array).copy()) for name, array in arrays.items()}


def _check(earlier: Mapping[str, NDArray[np.generic]], masks: Mapping[str, NDArray[np.generic]], new: Features) -> None:
    if not earlier:
        return
    fits = earlier.keys() == masks.keys() == new.keys() and all(
        earlier[name].ndim == 2 and earlier[name].shape == (len(masks[name]), rows.shape[1])
        for name, rows in new.items()
    )
    if not fits:
        raise DataError("the past of this stream is of a different version", where="stream", seen=", ".join(earlier))


def _logits(outputs: list[StepOutput]) -> Logits:
    """The scores of successive steps of one stream; those of the clip are the last ones."""
    final = outputs[-1]

    def over_time(rows: list[Mapping[str, Tensor]]) -> dict[str, NDArray[np.float32]]:
        return {name: torch.cat([row[name] for row in rows]).numpy() for name in sorted(rows[0])}

    def clips(scores: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
        return {name: value[0].numpy() for name, value in sorted(scores.items())}

    moods = [output.step_valence_arousal for output in outputs if output.step_valence_arousal is not None]
    return Logits(
        step=torch.cat([output.step_logits for output in outputs]).numpy(),
        clip=final.clip_logits[0].numpy(),
        unimodal=clips(final.unimodal_clip_logits),
        unimodal_step=over_time([output.unimodal_step_logits for output in outputs]),
        valence_arousal=None if final.valence_arousal is None else final.valence_arousal[0].numpy(),
        step_valence_arousal=torch.cat(moods).numpy() if moods else None,
        clip_ways=clips(final.clip_ways),
        step_ways=over_time([output.step_ways for output in outputs]),
    )
