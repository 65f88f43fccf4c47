"""The encoders whose last layers can be a part of the model and learn with it (`train.adapt`), and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from components.contracts.config import Train
from components.contracts.errors import ConfigError
from components.features.encoders import whisper_tiny
from components.model.base import EmotionModel
from components.model.model import TemporalModel
from components.model.spec import LORA, UpperSpec
from components.runtime.weights import WEIGHTS


@dataclass(frozen=True, kw_only=True)
class Adaptable:
    """The layers that an encoder leaves to the model.

    Attributes:
        base_sha256: of the file of their weights.
        width, heads, layers: of each, and how many they are.
        load: the layers with their weights.
    """

    base_sha256: str
    width: int
    heads: int
    layers: int
    load: Callable[[], nn.ModuleList]


def _whisper_layers() -> nn.ModuleList:
    return whisper_tiny.network().layers[whisper_tiny.LOWER_LAYERS : whisper_tiny.LAST_LAYER]


# (modality, encoder) → its layers.
ADAPTABLE: Mapping[tuple[str, str], Adaptable] = {
    ("voice", "whisper-tiny-frames"): Adaptable(
        base_sha256=WEIGHTS["whisper-tiny"].sha256,
        width=whisper_tiny.WIDTH,
        heads=whisper_tiny.HEADS,
        layers=whisper_tiny.LAST_LAYER - whisper_tiny.LOWER_LAYERS,
        load=_whisper_layers,
    )
}


def upper_of(
    train: Train, encoders: Mapping[str, Mapping[str, Any]], modalities: Mapping[str, int]
) -> dict[str, UpperSpec]:
    """The layers of encoders that are a part of a model.

    Args:
        train: the settings.
        encoders: of the catalog.
        modalities: those of the model, with their widths; others are ignored.

    Raises:
        ConfigError: an encoder of `train.adapt` leaves no layers to the model, or fewer than shall learn.
    """
    return {name: _upper(name, train, encoders) for name in sorted(train.adapt) if name in modalities}


def check_adapted(train: Train, encoders: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ConfigError as `upper_of`, and for a modality that is not encoded."""
    for name in sorted(train.adapt):
        _upper(name, train, encoders)


def _upper(name: str, train: Train, encoders: Mapping[str, Mapping[str, Any]]) -> UpperSpec:
    settings, where = train.adapt[name], f"train.adapt.{name}"
    encoder = str(encoders[name]["spec"]) if name in encoders else None
    layers = ADAPTABLE.get((name, str(encoder)))
    if layers is None:
        allowed = ", ".join(f"features.encoders.{modality}: {spec}" for modality, spec in ADAPTABLE)
        raise ConfigError(
            "this encoder has no layers that can learn with the model",
            where=where,
            seen="no encoder" if encoder is None else f"features.encoders.{name}: {encoder}",
            allowed=allowed,
            remedy="Set the encoder as allowed, or leave the modality out of train.adapt.",
        )
    if settings.layers > layers.layers:
        raise ConfigError(
            f"{encoder} leaves fewer layers to the model",
            where=f"{where}.layers",
            seen=settings.layers,
            allowed=f"1 to {layers.layers}",
        )
    return UpperSpec(
        encoder=str(encoder),
        base_sha256=layers.base_sha256,
        width=layers.width,
        heads=layers.heads,
        layers=layers.layers,
        learned=settings.layers,
        method=settings.method,
        rank=settings.rank if settings.method == LORA else 0,
    )


def load_bases(model: EmotionModel) -> None:
    """Gives the layers of encoders in a fresh model the encoders' weights.

    Raises:
        UnavailableError: they are not installed.
    """
    if isinstance(model, TemporalModel):
        for name, layers in model.upper_layers.items():
            layers.load_base(ADAPTABLE[name, layers.spec.encoder].load())
