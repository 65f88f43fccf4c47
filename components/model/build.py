"""From a spec to a model: the one place that knows which presets there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from components.model.base import EmotionModel
from components.model.model import TemporalModel
from components.model.spec import ModelSpec

BUILDERS: Mapping[str, Callable[[ModelSpec], EmotionModel]] = {"default": TemporalModel}

__all__ = ["BUILDERS", "EmotionModel", "build_model"]


def build_model(spec: ModelSpec) -> EmotionModel:
    """The model of a spec, with fresh weights.

    Raises:
        ModelError: the preset cannot work with the modalities of the spec.
    """
    return BUILDERS[spec.model.preset](spec)
