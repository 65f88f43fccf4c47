"""Weights of an earlier model put into a fresh one: those of what both have, the rest stays as it was drawn.

What belongs to a modality is carried over where both models read it by the same features, and what belongs to a class
where both learn it; everything else by its name. A model of more modalities or other classes than the earlier one
therefore starts with as much of it as fits.

Legend: D feature width, W channels, M modality, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from components.model.base import EmotionModel
from components.model.spec import ModelSpec

# Settings that decide the shape or the meaning of weights: of two models that differ in one of them, nothing fits.
SIZES = (
    "preset",
    "width",
    "heads",
    "tcn_blocks",
    "tcn_kernel",
    "causal",
    "fusion",
    "statistics_width",
    "standardise",
)
OF_A_MODALITY = re.compile(
    r"(?:encoders|attention\.(?:key_value|norm|out|query)|fusion\.(?:gate|value)|unimodal_step|unimodal_clip"
    r"|(?:step_)?statistics\.statistics|upper)\.(?P<modality>[^.]+)\."
)
# Their first axis is the classes.
BY_CLASS = re.compile(
    r"(?:step_head|clip_head|unimodal_step\.[^.]+|unimodal_clip\.[^.]+|(?:step_)?statistics)\.out\.\w+"
)
# Their last axis holds the modalities side by side.
SIDE_BY_SIDE = {
    "statistics.hidden.weight",
    "step_statistics.hidden.weight",
    "fusion.mix.weight",
    "step_experts.log_beta_M",
    "clip_experts.log_beta_M",
}

Blocks = dict[str, list[slice]]


@torch.no_grad()
def carry_over(
    model: EmotionModel, weights: Mapping[str, Tensor], earlier: ModelSpec, *, modalities: Collection[str]
) -> None:
    """Copies weights into a model, in place.

    Args:
        model: of the preset `default`, with fresh weights.
        weights: name → tensor, of a model of `earlier`, whose `SIZES` are those of this one.
        modalities: those that both models read by the same encoder.
    """
    spec = model.spec
    classes = [(spec.classes.index(name), earlier.classes.index(name)) for name in shared_classes(spec, earlier)]
    for name, own in model.state_dict().items():
        stored = weights.get(name)
        if stored is None or _elsewhere(name, modalities):
            continue
        if BY_CLASS.fullmatch(name):
            for new, old in classes:
                own[new].copy_(stored[old])
        elif name in SIDE_BY_SIDE:
            for columns, earlier_columns in _columns(name, spec, earlier, modalities):
                own[..., columns].copy_(stored[..., earlier_columns])
        elif own.shape == stored.shape:
            own.copy_(stored)


def shared_classes(spec: ModelSpec, earlier: ModelSpec) -> tuple[str, ...]:
    """The classes of a model that an earlier one has learned, by name."""
    return tuple(name for name in spec.classes if name in earlier.present)


def _elsewhere(name: str, modalities: Collection[str]) -> bool:
    """Whether a weight belongs to a modality that is not carried over."""
    matched = OF_A_MODALITY.match(name)
    return matched is not None and matched["modality"] not in modalities


def _columns(
    name: str, spec: ModelSpec, earlier: ModelSpec, modalities: Collection[str]
) -> Iterator[tuple[slice, slice]]:
    new, old = _blocks(name, spec), _blocks(name, earlier)
    for modality in new.keys() & old.keys() & set(modalities):
        yield from zip(new[modality], old[modality], strict=True)


def _blocks(name: str, spec: ModelSpec) -> Blocks:
    """Modality → its columns in a weight of `SIDE_BY_SIDE`."""
    names, count = spec.names, len(spec.names)
    if name == "statistics.hidden.weight":
        return _laid([2 * spec.read_widths[modality] for modality in names], names)
    if name == "step_statistics.hidden.weight":
        return _laid([spec.read_widths[modality] for modality in names], names)
    if name == "fusion.mix.weight":
        width = spec.model.width
        streams, presence = _laid([width] * count, names), _laid([1] * count, names, start=width * count)
        return {modality: [*streams[modality], *presence[modality]] for modality in names}
    return _laid([1] * count, names)


def _laid(widths: Sequence[int], names: Sequence[str], start: int = 0) -> Blocks:
    ends = list(accumulate(widths, initial=start))
    return {name: [slice(first, last)] for name, first, last in zip(names, ends, ends[1:], strict=False)}
