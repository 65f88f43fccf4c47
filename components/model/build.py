"""From a spec to a model: the table of presets and the models they stand for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from components.contracts.config import Model
from components.model.base import EmotionModel
from components.model.model import TemporalModel
from components.model.published.paper_clips import PaperClipModel, picture_and_sound
from components.model.spec import ModelSpec

BUILDERS: Mapping[str, Callable[[ModelSpec], EmotionModel]] = {"default": TemporalModel, "paper": PaperClipModel}
# Presets made for certain modalities, and how they choose them; the others take any.
CHOOSERS: Mapping[str, Callable[[Collection[str]], tuple[str, ...]]] = {"paper": picture_and_sound}

__all__ = ["BUILDERS", "EmotionModel", "build_model", "used_modalities"]


def build_model(spec: ModelSpec) -> EmotionModel:
    """The model of a spec, with fresh weights.

    Raises:
        ModelError: the preset cannot work with the modalities of the spec.
    """
    return BUILDERS[spec.model.preset](spec)


def used_modalities(model: Model, available: Iterable[str]) -> tuple[str, ...]:
    """The available modalities that a model of this configuration takes, sorted.

    Raises:
        ModelError: a modality that the preset needs is missing.
    """
    names = frozenset(available)
    choose = CHOOSERS.get(model.preset)
    return tuple(sorted(names if choose is None else choose(names)))
