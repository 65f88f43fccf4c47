"""The specification of a model: enough to build it again, and to report clearly when it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ValidationError

from components.contracts.config import MODALITIES, Model
from components.contracts.errors import ModelError

LORA, WEIGHTS = METHODS = "lora", "weights"


@dataclass(frozen=True, kw_only=True)
class UpperSpec:
    """The last layers of an encoder as a part of the model (`upper_layers.py`).

    Attributes:
        encoder: the encoder whose output they read: the frames of its first layers, all of a step side by side.
        base_sha256: of the weights that they have before they learn.
        width, heads: of each layer.
        layers: how many there are, of which the last `learned` learn.
        method: what learns in them, as `train.adapt` says; `rank` is that of `lora`, 0 otherwise.
    """

    encoder: str
    base_sha256: str
    width: int
    heads: int
    layers: int
    learned: int
    method: str
    rank: int

    def __post_init__(self) -> None:
        sizes = self.width > 0 and self.heads > 0 and self.width % self.heads == 0 and 0 < self.learned <= self.layers
        if not sizes or self.method not in METHODS or (self.rank > 0) != (self.method == LORA):
            raise ModelError("impossible layers of an encoder", where=self.encoder, seen=asdict(self))


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The shape of a model, independent of its weights.

    Attributes:
        modalities: name → feature width D. Any names; the order of the mapping does not matter.
        classes: the K class names, in the order of the logits.
        model: sizes and switches.
        absent: classes that no training clip has. Their logits are `ABSENT_LOGIT`, so they are never predicted.
        rate_hz: steps per second of the grid; turns step distances into seconds.
        valence_arousal: whether the model has a head for them.
        embedding: width W of the embedding that a contrastive loss compares with a text; 0 = no such head.
        utterances: whether steps are read in all ways that clips are, because training clips have labels for stretches
            of theirs alone, as the utterances of a video do.
        upper: modality → the layers of its encoder that are a part of the model; such a modality's D is that of the
            frames of a step side by side, a multiple of the layers' width.
    """

    modalities: Mapping[str, int]
    classes: tuple[str, ...]
    model: Model
    absent: tuple[str, ...] = ()
    rate_hz: float = 10.0
    valence_arousal: bool = False
    embedding: int = 0
    utterances: bool = False
    upper: Mapping[str, UpperSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ModelError("a model needs at least one modality", where="ModelSpec.modalities")
        for name, width in self.modalities.items():
            if width < 1 or not name or "." in name:
                raise ModelError("bad modality", where="ModelSpec.modalities", seen=f"{name}: {width}")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ModelError(
                "a model needs at least two different classes", where="ModelSpec.classes", seen=list(self.classes)
            )
        if self.embedding < 0:
            raise ModelError("a width cannot be negative", where="ModelSpec.embedding", seen=self.embedding)
        if self.upper and (self.model.causal or self.model.preset != "default"):
            raise ModelError(
                "layers of an encoder need a model of the default preset that sees later steps",
                where="train.adapt",
                seen=f"model.preset: {self.model.preset}, model.causal: {str(self.model.causal).lower()}",
                allowed="model.preset: default, model.causal: false",
                remedy="Set these as allowed, or train.adapt: {}.",
            )
        for name, layers in self.upper.items():
            if self.modalities.get(name, 1) % layers.width:
                seen = f"{name}: {self.modalities.get(name)}"
                raise ModelError("bad frames", where="ModelSpec.upper", seen=seen, allowed=f"{layers.width} each")
        unknown = sorted(set(self.absent) - set(self.classes))
        if unknown:
            raise ModelError("absent classes must be among the classes", where="ModelSpec.absent", seen=unknown)
        if len(self.present) < 2:
            raise ModelError(
                "fewer than two classes have training clips",
                where="ModelSpec.absent",
                seen=list(self.present),
                remedy="Add data of one more class, or choose a taxonomy that keeps these apart.",
            )

    @property
    def present(self) -> tuple[str, ...]:
        """The classes with training clips."""
        return tuple(name for name in self.classes if name not in self.absent)

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in the one order that the model uses: that of `MODALITIES`, then others by name."""
        standard = tuple(name for name in MODALITIES if name in self.modalities)
        return standard + tuple(sorted(set(self.modalities) - set(standard)))

    @property
    def read_widths(self) -> dict[str, int]:
        """Modality → width of what the model reads at a step, behind the layers of `upper`."""
        own = {name: layers.width for name, layers in self.upper.items()}
        return {name: own.get(name, width) for name, width in self.modalities.items()}

    def check(self, *, classes: tuple[str, ...] | None = None, modalities: Mapping[str, int] | None = None) -> None:
        """Compares this spec with a label map and feature widths (those of modalities it does not have are ignored).

        Raises:
            ModelError: a different label map, a different order of it, or a different width.
        """
        if classes is not None and tuple(classes) != self.classes:
            raise ModelError(
                "this model was trained on a different label map",
                where="classes",
                seen=", ".join(self.classes),
                allowed=", ".join(classes),
                remedy="Train again with this taxonomy, or set labels.taxonomy to the model's.",
            )
        for name, width in (modalities or {}).items():
            if name in self.modalities and self.modalities[name] != width:
                raise ModelError(
                    "this model was trained on features of a different width",
                    where=f"modality {name}",
                    seen=self.modalities[name],
                    allowed=width,
                    remedy="Use the encoder the model was trained with, or train again.",
                )

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "modalities": dict(sorted(self.modalities.items())),
            "classes": list(self.classes),
            "absent": list(self.absent),
            "rate_hz": self.rate_hz,
            "valence_arousal": self.valence_arousal,
            "embedding": self.embedding,
            **({"utterances": True} if self.utterances else {}),
            **({"upper": {name: asdict(layers) for name, layers in sorted(self.upper.items())}} if self.upper else {}),
            "model": self.model.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelSpec:
        """From `to_json`'s value. Raises ModelError when it is not a model spec of this version."""
        try:
            return cls(
                modalities={str(name): int(width) for name, width in value["modalities"].items()},
                classes=tuple(value["classes"]),
                absent=tuple(value.get("absent", ())),
                rate_hz=float(value.get("rate_hz", 10.0)),
                valence_arousal=bool(value.get("valence_arousal", False)),
                embedding=int(value.get("embedding", 0)),
                utterances=bool(value.get("utterances", False)),
                upper={str(name): UpperSpec(**layers) for name, layers in value.get("upper", {}).items()},
                model=Model.model_validate(value["model"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
            raise ModelError("not a model spec of this version", where="model spec", seen=str(error)) from error
