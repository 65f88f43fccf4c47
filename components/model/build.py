"""From a spec to a model: the one place that knows which model a preset means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from components.contracts.config import Model
from components.contracts.errors import ModelError
from components.model.base import EmotionModel
from components.model.model import TemporalModel
from components.model.paper_clips import MODALITIES, PaperClipModel
from components.model.spec import ModelSpec

BUILDERS: Mapping[str, Callable[[ModelSpec], EmotionModel]] = {"default": TemporalModel, "paper": PaperClipModel}
# Presets that are made for certain modalities; the others take any.
NEEDS: Mapping[str, tuple[str, ...]] = {"paper": MODALITIES}

__all__ = ["BUILDERS", "EmotionModel", "build_model", "used_modalities"]


def build_model(spec: ModelSpec) -> EmotionModel:
    """The model of a spec, with fresh weights.

    Raises:
        ModelError: the preset cannot work with the modalities of the spec.
    """
    return BUILDERS[spec.model.preset](spec)


def used_modalities(model: Model, available: Iterable[str]) -> tuple[str, ...]:
    """Which of the available modalities a model of this configuration takes, sorted.

    Raises:
        ModelError: one that the preset needs is not there.
    """
    names = set(available)
    needed = NEEDS.get(model.preset)
    if needed is None:
        return tuple(sorted(names))
    if missing := sorted(set(needed) - names):
        raise ModelError(
            f"this preset needs features of {' and '.join(needed)}; {' and '.join(missing)} has none",
            where=f"model.preset: {model.preset}",
            seen=", ".join(sorted(names)) or "nothing",
            allowed=", ".join(needed),
            remedy=f"Set features.encoders.{missing[0]} and use a corpus that has it, or set model.preset: default.",
        )
    return tuple(sorted(needed))
