"""One clip through the model: calibrated posteriors, also of each modality alone, and how far those disagree.

One clip per call, fp32, on the CPU, without gradients: the numbers of a clip cannot depend on its batch, so the online
answer is the offline one. Legend: T steps, K classes, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.inference.calibration import Calibration, Shift, mix, with_product
from components.inference.contradiction import ConflictCurve, moments
from components.inference.experts import Opinion, joined_clip, joined_steps
from components.inference.probabilities import product_of_experts, shifted, softmax
from components.inference.together import Combination, groups_of
from components.model.base import EmotionModel, ModelOutput

Features = Mapping[str, NDArray[np.float32]]
Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Logits:
    """The outputs of the heads, float32: scores before softmax `step` (T, K), `clip` (K,), `clip_ways` (K,) by way of
    reading the clip and `step_ways` (T, K) by way of reading a step, `unimodal` (K,) and `unimodal_step` (T, K) by
    modality; `valence_arousal` (2,) and `step_valence_arousal` (T, 2) in [-1, 1], None without that head."""

    step: NDArray[np.float32]
    clip: NDArray[np.float32]
    unimodal: dict[str, NDArray[np.float32]]
    unimodal_step: dict[str, NDArray[np.float32]]
    valence_arousal: NDArray[np.float32] | None = None
    step_valence_arousal: NDArray[np.float32] | None = None
    clip_ways: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    step_ways: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(cls, output: ModelOutput, row: int, steps: int) -> Logits:
        """Of one clip of a batch, which has that many steps; the others are padding."""

        def clips(scores: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
            return {name: values[row].numpy().copy() for name, values in sorted(scores.items())}

        def over_time(scores: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
            return {name: values[row, :steps].numpy().copy() for name, values in sorted(scores.items())}

        affect, step_affect = output.valence_arousal, output.step_valence_arousal
        return cls(
            step=output.step_logits[row, :steps].numpy().copy(),
            clip=output.clip_logits[row].numpy().copy(),
            unimodal=clips(output.unimodal_clip_logits),
            unimodal_step=over_time(output.unimodal_step_logits),
            valence_arousal=None if affect is None else affect[row].numpy().copy(),
            step_valence_arousal=None if step_affect is None else step_affect[row, :steps].numpy().copy(),
            clip_ways=clips(output.clip_ways),
            step_ways=over_time(output.step_ways),
        )


@dataclass(frozen=True, kw_only=True)
class Posteriors:
    """Calibrated: `step` (T, K), `clip` (K,), `unimodal` (K,) and `unimodal_step` (T, K) by present modality."""

    present: tuple[str, ...]
    step: NDArray[np.float32]
    clip: NDArray[np.float32]
    unimodal: dict[str, NDArray[np.float32]]
    unimodal_step: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The calibrated outputs of the model for one clip.

    Attributes:
        present: the modalities with at least one valid step.
        step_posterior: (T, K) float32; steps at which no modality is valid carry no information.
        clip_posterior: (K,) float32.
        unimodal_posterior: modality → (K,) float32, of the modalities with at least one valid step.
        unimodal_steps: modality → (T, K), of the same where the model has such heads; rows count where it is valid.
        moments: the conflict over time; None where never two modalities have an opinion at once.
        step_contradiction: (T,) how rare each moment's conflict is among the worst moments of ordinary clips, 0 to 1;
            NaN where fewer than two modalities have an opinion.
        valence_arousal: (2,) and step_valence_arousal: (T, 2), each in [-1, 1]; None where the model has no such head,
            NaN at steps that a classifier alone judged.
        groups: the modalities in the groups that the clip was read in; more than one only where the version was not
            trained on them together.
    """

    present: tuple[str, ...]
    step_posterior: NDArray[np.float32]
    clip_posterior: NDArray[np.float32]
    unimodal_posterior: dict[str, NDArray[np.float32]]
    moments: ConflictCurve | None
    step_contradiction: NDArray[np.float64]
    valence_arousal: NDArray[np.float32] | None = None
    step_valence_arousal: NDArray[np.float32] | None = None
    groups: tuple[Combination, ...] = ()
    unimodal_steps: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def joined(self, opinions: Mapping[str, Opinion], masks: Masks) -> Scored:
        """With the opinions of classifiers on modalities that the version was trained without, by modality.

        How far modalities contradict each other stays as it is: what is usual was measured without them.
        """
        if not opinions:
            return self
        own_valid = np.any(list(masks.values()), axis=0)
        mood = self.step_valence_arousal
        return replace(
            self,
            valence_arousal=self.valence_arousal if self.present else None,
            step_valence_arousal=None if mood is None else np.where(own_valid[:, None], mood, np.float32(np.nan)),
            present=tuple(sorted({*self.present, *opinions})),
            step_posterior=joined_steps(self.step_posterior, own_valid, opinions),
            clip_posterior=joined_clip(self.clip_posterior if self.present else None, opinions),
            unimodal_posterior={
                **self.unimodal_posterior,
                **{name: opinion.clip.astype(np.float32) for name, opinion in opinions.items()},
            },
            unimodal_steps={**self.unimodal_steps, **{name: opinion.step for name, opinion in opinions.items()}},
        )

    @property
    def contradiction(self) -> float | None:
        """How rare the clip's worst moment is, 0 to 1; None without `moments`."""
        return None if self.moments is None else float(self.step_contradiction[self.moments.worst_step])

    @property
    def contradiction_pair(self) -> tuple[str, str] | None:
        """The two modalities that conflict most at the worst moment, in order of name; None without `moments`."""
        return None if self.moments is None else self.moments.pairs[int(self.moments.pair[self.moments.worst_step])]


class Scorer:
    """A model with its calibration."""

    def __init__(self, model: EmotionModel, calibration: Calibration) -> None:
        self.model = model.to(device="cpu", dtype=torch.float32).eval()
        self.calibration = calibration

    def logits(self, features: Features, masks: Masks) -> Logits:
        """Uncalibrated scores of one clip: {m: (T, D)}, {m: (T,)} as `Transform.apply` returns them."""
        with torch.inference_mode():
            out = self.model(
                {
                    name: torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None]
                    for name, x in features.items()
                },
                {name: torch.from_numpy(np.ascontiguousarray(x, dtype=bool))[None] for name, x in masks.items()},
            )
        return Logits.of(out, 0, out.step_logits.shape[1])

    def logits_under(self, features: Features, variants: Sequence[Masks]) -> list[Logits]:
        """`logits` of one clip under several masks {m: (T,)}, in one pass of the model; equal to as many passes up to
        the rounding of float32."""
        count = len(variants)
        with torch.inference_mode():
            out = self.model(
                {  # what is masked is never read, so the features need no copy
                    name: torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None].expand(count, -1, -1)
                    for name, x in features.items()
                },
                {
                    name: torch.from_numpy(np.stack([masks[name] for masks in variants]).astype(bool))
                    for name in features
                },
            )
        return [Logits.of(out, row, out.step_logits.shape[1]) for row in range(count)]

    def ways(self, logits: Logits, masks: Masks) -> dict[str, NDArray[np.floating]]:
        """Way of reading the clip → (K,) scores; see `with_product`."""
        present = {name: scores for name, scores in logits.unimodal.items() if name in masks and masks[name].any()}
        return with_product(logits.clip_ways, present, self.calibration.unimodal)

    def clip_scores(self, logits: Logits, masks: Masks) -> NDArray[np.float32]:
        """(K,) scores of the clip before its temperature: the ways of reading it, weighted by the calibration."""
        weights = self.calibration.clip_ways
        return mix(self.ways(logits, masks), weights) if weights else logits.clip

    def step_ways(self, logits: Logits, masks: Masks) -> dict[str, NDArray[np.floating]]:
        """Way of reading a step → (T, K) scores; see `with_product`."""
        present = {
            name: np.where(masks[name][:, None], scores, np.float32(np.nan))
            for name, scores in logits.unimodal_step.items()
            if name in masks and masks[name].any()
        }
        return with_product(logits.step_ways, present, self.calibration.unimodal_step)

    def step_scores(self, logits: Logits, masks: Masks) -> NDArray[np.float32]:
        """(T, K) scores of the steps before their temperature, as `clip_scores`."""
        weights = self.calibration.step_ways
        return mix(self.step_ways(logits, masks), weights) if weights else logits.step

    def score(self, features: Features, masks: Masks) -> Scored:
        """Calibrated posteriors of one clip: {m: (T, D)}, {m: (T,)} as `Transform.apply` returns them."""
        return self._combined(self.logits(features, masks), features, masks)

    def score_without(self, features: Features, masks: Masks) -> dict[str, Scored]:
        """Modality that is present → `score` of the clip as if it had not been recorded, where others remain."""
        present = [name for name, mask in masks.items() if bool(mask.any())]
        if len(present) < 2:
            return {}
        variants = [
            {name: np.zeros_like(mask) if name == left_out else mask for name, mask in masks.items()}
            for left_out in present
        ]
        logits = self.logits_under(features, variants)
        return {
            name: self._combined(scores, features, own)
            for name, scores, own in zip(present, logits, variants, strict=True)
        }

    def _combined(self, logits: Logits, features: Features, masks: Masks) -> Scored:
        whole = self.calibrated(logits, masks)
        groups = groups_of(whole.present, self.calibration.together)
        return whole if len(groups) < 2 else self._in_groups(whole, features, masks, groups)

    def _in_groups(self, whole: Scored, features: Features, masks: Masks, groups: Sequence[Combination]) -> Scored:
        """The product of what each group of modalities says; the posteriors of single modalities, which depend on
        nothing beside them, stay as they are."""
        # The objective's prior counts once, and not once per group.
        scorer, shift = Scorer(self.model, replace(self.calibration, shift=Shift())), self.calibration.shift
        kept = [keep(features, masks, names) for names in groups]
        logits = [scorer.logits(*part) for part in kept]
        read = [scorer.posteriors(scores, own) for scores, (_, own) in zip(logits, kept, strict=True)]
        valid = [np.any(list(own.values()), axis=0) for _, own in kept]
        steps = {
            "+".join(names): np.where(where[:, None], part.step.astype(np.float64), np.nan)
            for names, part, where in zip(groups, read, valid, strict=True)
        }
        clips = {"+".join(names): part.clip for names, part in zip(groups, read, strict=True)}
        return replace(
            whole,
            step_posterior=shifted(product_of_experts(steps), shift.step).astype(np.float32),
            clip_posterior=shifted(product_of_experts(clips), shift.clip).astype(np.float32),
            valence_arousal=_mean([part.valence_arousal for part in logits], [np.True_] * len(logits)),
            step_valence_arousal=_mean([part.step_valence_arousal for part in logits], valid),
            groups=tuple(groups),
        )

    def posteriors(self, logits: Logits, masks: Masks, earlier: Collection[str] = ()) -> Posteriors:
        """The scores of `logits` as posteriors; a modality without a valid step has no opinion. `earlier`: modalities
        that the clip had before these steps, where they are part of a stream."""
        calibration, shift = self.calibration, self.calibration.shift
        present = tuple(name for name in masks if name in earlier or bool(masks[name].any()))
        step_temperature = calibration.step_by_count.get(len(present), calibration.step)
        clip_temperature = calibration.clip_by_count.get(len(present), calibration.clip)
        return Posteriors(
            present=present,
            step=softmax(self.step_scores(logits, masks), step_temperature, shift.step).astype(np.float32),
            clip=softmax(self.clip_scores(logits, masks), clip_temperature, shift.clip).astype(np.float32),
            unimodal={
                name: softmax(value, calibration.unimodal.get(name, 1.0), shift.clip).astype(np.float32)
                for name, value in logits.unimodal.items()
                if name in present
            },
            unimodal_step={
                name: softmax(value, calibration.unimodal_step.get(name, 1.0), shift.step)
                for name, value in logits.unimodal_step.items()
                if name in present
            },
        )

    def calibrated(self, logits: Logits, masks: Masks, earlier: Collection[str] = ()) -> Scored:
        """The posteriors of `logits`, and how far those of single modalities disagree; `earlier` as of `posteriors`."""
        posteriors = self.posteriors(logits, masks, earlier)
        over_time = moments(posteriors.unimodal_step, masks, rate_hz=self.model.spec.rate_hz)
        return Scored(
            present=posteriors.present,
            step_posterior=posteriors.step,
            clip_posterior=posteriors.clip,
            unimodal_posterior=posteriors.unimodal,
            unimodal_steps=posteriors.unimodal_step,
            moments=over_time,
            step_contradiction=(
                np.full(len(logits.step), np.nan)
                if over_time is None
                else self.calibration.rarity.of(over_time.conflict)
            ),
            valence_arousal=logits.valence_arousal,
            step_valence_arousal=logits.step_valence_arousal,
        )


def _mean(
    values: Sequence[NDArray[np.float32] | None], valid: Sequence[NDArray[np.bool_] | np.bool_]
) -> NDArray[np.float32] | None:
    """{group: (…, 2)} → (…, 2): the mean over the groups that are valid, zeros where none is; None without values."""
    given = [value for value in values if value is not None]
    if not given:
        return None
    weights = np.stack([np.broadcast_to(where, value.shape[:-1]) for where, value in zip(valid, given, strict=True)])
    total = (np.stack(given) * weights[..., None]).sum(0)
    return np.asarray(total / np.maximum(weights.sum(0), 1)[..., None], np.float32)


def keep(
    features: Features, masks: Masks, modalities: Collection[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
    """The clip as if only `modalities` had been recorded: the others are zero and masked."""
    return (
        {name: value if name in modalities else np.zeros_like(value) for name, value in features.items()},
        {name: value if name in modalities else np.zeros_like(value) for name, value in masks.items()},
    )
