"""A clip through the model: calibrated posteriors, also of each modality alone, and how far those disagree.

fp32, on the CPU, without gradients. Clips are scored one at a time, so that the numbers of a clip do not depend on
others; a service may score several that it was asked for at once (`Scorer.score_all`), which changes them by rounding
alone. Legend: T steps, K classes, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

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

# Steps of one pass of the model over several clips: more are no faster, and need memory.
MOST_STEPS = 4096

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


@dataclass(frozen=True, kw_only=True)
class _Grouped:
    """A clip as the model reads it: `parts` are the whole, and where there are `groups`, the clip of each of them."""

    parts: Sequence[tuple[Features, Masks]]
    groups: tuple[Combination, ...]


def _grouped(features: Features, masks: Masks, together: Sequence[Combination]) -> _Grouped:
    groups = groups_of(tuple(name for name, mask in masks.items() if mask.any()), together)
    groups = groups if len(groups) > 1 else ()
    return _Grouped(parts=[(features, masks), *(keep(features, masks, names) for names in groups)], groups=groups)


def _passes(order: Sequence[int], read: Sequence[_Grouped]) -> Iterator[list[int]]:
    """Clips for one pass each, from the shortest on: of the same modalities and of at most `MOST_STEPS` with padding,
    no longer than twice the shortest."""
    some: list[int] = []
    for index in order:
        features, masks = read[index].parts[0]
        steps = len(next(iter(masks.values())))
        if some:
            first_features, first_masks = read[some[0]].parts[0]
            rows = sum(len(read[other].parts) for other in [*some, index])
            alike = tuple(first_features) == tuple(features)
            close = steps <= 2 * len(next(iter(first_masks.values())))
            if not (alike and close and rows * steps <= MOST_STEPS):
                yield some
                some = []
        some.append(index)
    if some:
        yield some


class Scorer:
    """A model with its calibration."""

    def __init__(self, model: EmotionModel, calibration: Calibration) -> None:
        self.model = model.to(device="cpu", dtype=torch.float32).eval()
        self.calibration = calibration

    @cached_property
    def _without_prior(self) -> Scorer:
        return Scorer(self.model, replace(self.calibration, shift=Shift()))

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

    def _logits_of(self, clips: Sequence[tuple[Features, Masks]]) -> list[Logits]:
        """`logits` of clips that have the same modalities, in one pass of the model; shorter ones are padded."""
        if not clips:
            return []
        if len(clips) == 1:
            return [self.logits(*clips[0])]
        steps = [len(next(iter(masks.values()))) for _, masks in clips]
        longest = max(steps)

        def padded(values: Sequence[NDArray[np.generic]], kind: type) -> Tensor:
            rows = np.zeros((len(values), longest, *values[0].shape[1:]), kind)
            for row, value in zip(rows, values, strict=True):
                row[: len(value)] = value
            return torch.from_numpy(rows)

        names = tuple(clips[0][0])
        with torch.inference_mode():
            out = self.model(
                {name: padded([features[name] for features, _ in clips], np.float32) for name in names},
                {name: padded([masks[name] for _, masks in clips], np.bool_) for name in names},
            )
        return [Logits.of(out, row, count) for row, count in enumerate(steps)]

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
        return self.score_all([(features, masks)])[0]

    def score_all(self, clips: Sequence[tuple[Features, Masks]]) -> list[Scored]:
        """`score` of several clips, in few passes of the model (`MOST_STEPS`); equal up to the rounding of float32."""
        # Each clip as a whole, and in the groups of modalities that it is read in.
        read = [_grouped(features, masks, self.calibration.together) for features, masks in clips]
        order = sorted(range(len(clips)), key=lambda index: len(next(iter(clips[index][1].values()))))
        scored: dict[int, Scored] = {}
        for some in _passes(order, read):
            logits = iter(self._logits_of([part for index in some for part in read[index].parts]))
            for index in some:
                own = read[index]
                scored[index] = self._combined(own, [next(logits) for _ in own.parts])
        return [scored[index] for index in range(len(clips))]

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
        without = {}
        for name, scores, own in zip(present, logits, variants, strict=True):
            parts = _grouped(features, own, self.calibration.together)
            without[name] = self._combined(parts, [scores, *self._logits_of(parts.parts[1:])])
        return without

    def _combined(self, read: _Grouped, logits: Sequence[Logits]) -> Scored:
        whole = self.calibrated(logits[0], read.parts[0][1])
        return whole if not read.groups else self._in_groups(whole, read, logits[1:])

    def _in_groups(self, whole: Scored, grouped: _Grouped, logits: Sequence[Logits]) -> Scored:
        """The product of what each group of modalities says; the posteriors of single modalities, which depend on
        nothing beside them, stay as they are."""
        groups, masks = grouped.groups, [own for _, own in grouped.parts[1:]]
        # The objective's prior counts once, and not once per group.
        scorer, shift = self._without_prior, self.calibration.shift
        read = [scorer.posteriors(scores, own) for scores, own in zip(logits, masks, strict=True)]
        valid = [np.any(list(own.values()), axis=0) for own in masks]
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
