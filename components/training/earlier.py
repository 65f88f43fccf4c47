"""An earlier version that a training starts from, or that an evaluation compares with, as the stage `inputs` wrote it.

    earlier.json           what the configuration called it, and its bundle's hash; `null` where none is configured
    bundle.json            the bundle's description
    model.safetensors      its weights
    transform.*            its transform

A training starts from the weights of every modality that both read by the same encoder, under the earlier version's
statistics of these features: a weight fits the numbers it was learned on. What has no counterpart starts anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from components.contracts.atomic import read_json
from components.contracts.bundle_files import DESCRIPTION
from components.contracts.config import Model
from components.contracts.errors import ConfigError, ModelError
from components.contracts.layout import EARLIER
from components.contracts.lineage import STARTED_TAG
from components.features.transform import Transform
from components.model.base import EmotionModel
from components.model.build import build_model
from components.model.carried import SIZES, carry_over, shared_classes
from components.model.files import WEIGHTS, load_weights
from components.model.spec import ModelSpec
from components.training.nodes.materials import START, NodeMaterials

CARRIED_PRESET = "default"
# Modality → spec, fingerprint and width.
Encoders = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier version.

    Attributes:
        folder: with the files of this module's head.
        name: what the configuration calls it.
        bundle_sha256: identifies it.
        description: the content of its `bundle.json`.
    """

    folder: Path
    name: str
    bundle_sha256: str
    description: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Earlier | None:
        """None where none is configured. Raises ModelError: the files are missing or damaged."""
        try:
            value = read_json(folder / EARLIER) if (folder / EARLIER).is_file() else None
            if value is None:
                return None
            return cls(
                folder=folder,
                name=str(value["name"]),
                bundle_sha256=str(value["bundle_sha256"]),
                description=read_json(folder / DESCRIPTION),
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                "cannot read the earlier version",
                where=str(folder),
                seen=str(error),
                remedy="`mer inputs` writes it anew.",
            ) from error

    @cached_property
    def spec(self) -> ModelSpec:
        """The shape of its model."""
        return ModelSpec.from_json(self.description["model"])

    @cached_property
    def transform(self) -> Transform:
        """Its transform."""
        return Transform.load(self.folder)

    @property
    def corpora(self) -> dict[str, str]:
        """Dataset that it was trained on → `recorded` or `rendered` people, with those of what it started from."""
        before = self.description.get("started_from", {}).get("corpora", {})
        return {**before, **self.description.get("corpora", {})}

    def model(self) -> EmotionModel:
        """Its model. Raises ModelError: the weights do not fit."""
        model = build_model(self.spec)
        load_weights(model, load_file(self.folder / WEIGHTS), where=str(self.folder))
        return model.eval()

    def shared(self, encoders: Encoders) -> tuple[str, ...]:
        """Its modalities whose features come from the same encoder here; `encoders` are a catalog's."""
        own: Encoders = self.description["encoders"]
        return tuple(
            name
            for name in self.spec.names
            if name in encoders and encoders[name]["fingerprint"] == own[name]["fingerprint"]
        )

    def check(self, model: Model, *, rate_hz: float, encoders: Encoders, present: Collection[str]) -> None:
        """Whether a training can start from it.

        Args:
            model: the configured one.
            rate_hz: of the training clips.
            encoders: of their catalog.
            present: the modalities that training clips have.

        Raises:
            ConfigError: a size, the rate or every encoder differs.
        """
        where = f"train.start_from: {self.name}"
        if model.preset != CARRIED_PRESET:
            raise ConfigError(
                "only a model of the default preset can start from a version",
                where=where,
                seen=f"model.preset: {model.preset}",
                remedy="Set train.start_from: null, or model.preset: default.",
            )
        own = self.spec.model
        different = [name for name in SIZES if getattr(model, name) != getattr(own, name)]
        if different:
            raise ConfigError(
                "the model differs in size from the version that training starts from",
                where=where,
                seen=", ".join(f"model.{name}: {getattr(model, name)}" for name in different),
                allowed=", ".join(f"model.{name}: {getattr(own, name)}" for name in different),
                remedy="Set these as allowed, or train.start_from: null.",
            )
        if rate_hz != self.spec.rate_hz:
            raise ConfigError(
                "the version that training starts from has a different grid",
                where=where,
                seen=f"alignment.rate_hz: {rate_hz:g}",
                allowed=f"{self.spec.rate_hz:g}",
                remedy="Set alignment.rate_hz as allowed, or train.start_from: null.",
            )
        if not set(self.shared(encoders)) & set(present):
            raise ConfigError(
                "no modality is read by an encoder that the version to start from was trained with",
                where=where,
                seen=encoders_in_words({name: encoders[name] for name in encoders if name in present}),
                allowed=encoders_in_words(self.description["encoders"]),
                remedy="Set features.encoders as allowed for one modality at least, or train.start_from: null.",
            )

    def under(self, fitted: Transform, encoders: Encoders) -> Transform:
        """A fitted transform with this version's statistics of the features that both read."""
        kept = {name: self.transform.modalities[name] for name in self.shared(encoders) if name in fitted.modalities}
        return replace(fitted, modalities={**fitted.modalities, **kept})

    def start(self, encoders: Encoders, modalities: Collection[str], folder: Path) -> Start:
        """What a training of these modalities takes over, with a copy of the files in `folder`: `data/inputs` may be
        written anew before it has ended."""
        if folder != self.folder:
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Start(folder=folder, modalities=tuple(name for name in self.shared(encoders) if name in modalities))

    def taken(self, spec: ModelSpec, encoders: Encoders) -> Taken:
        """What a model of `spec` took over."""
        return Taken(
            name=self.name,
            bundle_sha256=self.bundle_sha256,
            corpora=self.corpora,
            modalities=tuple(name for name in spec.names if name in self.shared(encoders)),
            classes=tuple(name for name in spec.present if name in shared_classes(spec, self.spec)),
            new_modalities=tuple(name for name in spec.names if name not in self.shared(encoders)),
            new_classes=tuple(name for name in spec.present if name not in shared_classes(spec, self.spec)),
        )


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a model took over from an earlier version, and what started anew.

    Attributes:
        name, bundle_sha256: of the version.
        corpora: dataset that it was trained on → `recorded` or `rendered` people.
        modalities, classes: taken over; `new_modalities`, `new_classes`: not, because it has them from a different
            encoder, or not at all.
    """

    name: str
    bundle_sha256: str
    corpora: Mapping[str, str]
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    new_modalities: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As part of a sentence, after "Training started from"."""
        classes = f"{len(self.classes)} classes" if len(self.classes) != 1 else "1 class"
        anew = ", ".join((*self.new_modalities, *self.new_classes))
        return (
            f"{self.name} (bundle {self.bundle_sha256[:12]}): {', '.join(self.modalities)} and {classes} taken over"
            + (f"; anew {anew}" if anew else "")
        )

    def tags(self) -> dict[str, str]:
        """For the run and the version of the model."""
        return {
            STARTED_TAG: self.bundle_sha256,
            f"{STARTED_TAG}.name": self.name,
            f"{STARTED_TAG}.corpora": ", ".join(f"{name} ({kind})" for name, kind in sorted(self.corpora.items())),
        }

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            **asdict(self),
            "corpora": dict(sorted(self.corpora.items())),
            **{name: list(value) for name, value in asdict(self).items() if isinstance(value, tuple)},
        }

    @classmethod
    def read(cls, path: Path) -> Taken | None:
        """From the file of a training; None where it started anew."""
        if not path.is_file():
            return None
        value = read_json(path)
        fields: dict[str, Any] = {name: tuple(own) if isinstance(own, list) else own for name, own in value.items()}
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The weights that a training starts from: those of the `modalities` that both read by one encoder.

    It holds a path only, so it travels to workers cheaply. With `materials` the files come from an object store.
    """

    folder: Path
    modalities: tuple[str, ...]
    materials: NodeMaterials | None = None

    def put_into(self, model: EmotionModel) -> None:
        """Sets the weights that both models have. Raises ModelError: the files are missing."""
        folder = self.folder if self.materials is None else self.materials.bring() / START
        earlier = Earlier.read(folder)
        if earlier is not None:
            carry_over(model, load_file(folder / WEIGHTS), earlier.spec, modalities=self.modalities)


def encoders_in_words(encoders: Encoders) -> str:
    """Such as `face: fer, voice: whisper-tiny`."""
    return ", ".join(f"{name}: {entry['spec']}" for name, entry in sorted(encoders.items()))
