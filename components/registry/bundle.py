"""The bundle: everything a served model needs, as data in one folder.

    bundle.json            the description, and the SHA-256 of every other file
    model.safetensors      weights
    transform.*            the fitted transform
    reference.*            statistics of the training data, for outlier checks
    golden.*               inputs of a few test clips and the outputs they must give; a drawn clip and its outputs
    lineage.json           the code and data that it was made from

Nothing in it is executed. `bundle.json` covers every file but `lineage.json`, so `bundle_sha256`, the hash of
`bundle.json`, identifies the model itself: the same data and code give the same hash on any machine at any commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from components.contracts.atomic import atomic_dir, atomic_file, write_json
from components.contracts.bundle_files import DESCRIPTION, FILES, FORMAT, LINEAGE, read_bounded_json, verify_files
from components.contracts.config import Alignment
from components.contracts.errors import BundleError, MerError
from components.contracts.fingerprint import canonical_json, file_sha256
from components.contracts.labels import Taxonomy
from components.contracts.lineage import Lineage
from components.contracts.pretrained import Pretrained
from components.features.transform import Transform
from components.inference.calibration import Calibration
from components.inference.outliers import Reference
from components.inference.scoring import Scorer
from components.inference.semi_markov import Smoother
from components.model.build import EmotionModel, build_model
from components.model.files import WEIGHTS, load_weights
from components.model.spec import ModelSpec
from components.registry.goldens import (
    Golden,
    GoldenClip,
    load_golden_clip,
    load_goldens,
    save_goldens,
    worst_deviation,
)

# Far above any model of this code; a spec beyond them would only exhaust memory.
MAX_WIDTH, MAX_BLOCKS, MAX_FEATURES, MAX_CLASSES, MAX_MODALITIES = 8192, 64, 65_536, 4096, 64
DEFAULT_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The encoder that made a modality's features."""

    spec: str
    fingerprint: str
    width: int


@dataclass(frozen=True, kw_only=True)
class Expert:
    """The pretrained classifier that judges a modality which the training data lacked."""

    encoder: EncoderSpec
    classifier: Pretrained

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {"encoder": asdict(self.encoder), "classifier": self.classifier.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Expert:
        """From `to_json`'s value; raises KeyError, TypeError or ValueError when it is not one."""
        return cls(encoder=_encoder(value["encoder"]), classifier=Pretrained.from_json(value["classifier"]))


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `bundle.json` apart from the hashes.

    `metrics` are the headline figures with intervals, `gates` the evidence for promotion; both are read
    by people and by the reconciler, and do not affect the model's computation. `taxonomy` is what `Taxonomy.to_json`
    gives: a name, or all of one's own, so that serving needs no configuration. `experts` judge the modalities that
    the training data lacked. `corpora` is dataset → `recorded` or `rendered` people; empty in versions of before it
    was written. `started_from` is the version whose weights training started from (`components/training/earlier.py`);
    empty where it started anew.
    """

    taxonomy: str | Mapping[str, Any]
    spec: ModelSpec
    alignment: Alignment
    alignment_fingerprint: str
    encoders: Mapping[str, EncoderSpec]
    calibration: Calibration
    smoother: Smoother
    metrics: Mapping[str, Any]
    gates: Sequence[Mapping[str, Any]]
    experts: Mapping[str, Expert] = field(default_factory=dict)
    corpora: Mapping[str, str] = field(default_factory=dict)
    started_from: Mapping[str, Any] = field(default_factory=dict)

    @property
    def learned_from(self) -> dict[str, str]:
        """`corpora`, with those of the version that training started from."""
        return {**self.started_from.get("corpora", {}), **self.corpora}

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "taxonomy": self.taxonomy,
            "classes": list(self.spec.classes),
            "model": self.spec.to_json(),
            "alignment": {
                "settings": self.alignment.model_dump(mode="json"),
                "fingerprint": self.alignment_fingerprint,
            },
            "encoders": {name: asdict(encoder) for name, encoder in sorted(self.encoders.items())},
            "calibration": self.calibration.to_json(),
            "smoothing": self.smoother.to_json(),
            "metrics": dict(self.metrics),
            "gates": [dict(gate) for gate in self.gates],
            **self._experts_to_json(),
            **({"corpora": dict(sorted(self.corpora.items()))} if self.corpora else {}),
            **({"started_from": dict(self.started_from)} if self.started_from else {}),
        }

    def _experts_to_json(self) -> dict[str, Any]:
        """Nothing without experts, so that a version without any has the bundle it had before there were experts."""
        experts = {name: expert.to_json() for name, expert in sorted(self.experts.items())}
        return {"experts": experts} if experts else {}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str) -> Description:
        """From the value of `to_json`. Raises BundleError naming the missing or wrong part."""
        try:
            spec = ModelSpec.from_json(value["model"])
            _check_bounds(spec, where)
            if list(spec.classes) != list(value["classes"]):
                raise BundleError(
                    "the label map and the model disagree",
                    where=where,
                    seen=value["classes"],
                    allowed=list(spec.classes),
                )
            return cls(
                taxonomy=_taxonomy(value["taxonomy"]),
                spec=spec,
                alignment=Alignment.model_validate(value["alignment"]["settings"]),
                alignment_fingerprint=str(value["alignment"]["fingerprint"]),
                encoders={str(name): _encoder(entry) for name, entry in value["encoders"].items()},
                calibration=Calibration.from_json(value["calibration"]),
                smoother=Smoother.from_json(value["smoothing"]),
                metrics=dict(value["metrics"]),
                gates=[dict(gate) for gate in value["gates"]],
                experts={str(name): Expert.from_json(own) for name, own in value.get("experts", {}).items()},
                corpora={str(name): str(kind) for name, kind in value.get("corpora", {}).items()},
                started_from=dict(value.get("started_from", {})),
            )
        except BundleError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, ValidationError, MerError) as error:
            raise BundleError(
                "the description is incomplete or has a different form",
                where=where,
                seen=f"{type(error).__name__}: {error}",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle in memory. `sha256` is that of `bundle.json`, which identifies exactly this model."""

    folder: Path
    sha256: str
    description: Description
    model: EmotionModel
    transform: Transform
    reference: Reference
    goldens: tuple[Golden, ...]
    lineage: Lineage
    golden_clip: GoldenClip | None = None

    @property
    def spec(self) -> ModelSpec:
        """The model's shape."""
        return self.description.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self.description.spec.classes

    @property
    def calibration(self) -> Calibration:
        """Temperatures by head."""
        return self.description.calibration

    @property
    def smoother(self) -> Smoother:
        """For `find_episodes`."""
        return self.description.smoother

    @property
    def alignment(self) -> Alignment:
        """The alignment settings of the training data."""
        return self.description.alignment

    @property
    def encoders(self) -> Mapping[str, EncoderSpec]:
        """The encoder of each modality."""
        return self.description.encoders

    @property
    def experts(self) -> Mapping[str, Expert]:
        """The classifier of each modality that the training data lacked and one can judge."""
        return self.description.experts

    def scorer(self) -> Scorer:
        """The model with its calibration."""
        return Scorer(self.model, self.calibration)

    def check_goldens(self, tolerance: float = DEFAULT_TOLERANCE) -> float:
        """Scores the golden inputs again and returns the largest deviation from the stored outputs.

        Raises:
            BundleError: there are no goldens, or an output deviates by more than `tolerance` (absolute, in
                probability): this code or machine does not reproduce the model that was evaluated.
        """
        where = self.folder.name
        if not self.goldens:
            raise BundleError("the bundle has no golden examples", where=where)
        scorer = self.scorer()
        worst, place = 0.0, ""
        for golden in self.goldens:
            deviation, output = worst_deviation(golden, scorer)
            if not deviation <= worst:  # NaN counts as a deviation
                worst, place = deviation, f"{golden.name}: {output}"
        if not worst <= tolerance:
            raise BundleError(
                "the golden examples do not hold", where=f"{where}: {place}", seen=worst, allowed=f"at most {tolerance}"
            )
        return worst


def write_bundle(
    folder: Path,
    *,
    description: Description,
    model: EmotionModel,
    transform: Transform,
    reference: Reference,
    goldens: Sequence[Golden],
    lineage: Lineage,
    golden_clip: GoldenClip | None = None,
) -> str:
    """Writes a bundle atomically and returns its `bundle_sha256`.

    Raises:
        BundleError: the transform, the encoders and the model do not fit together.
    """
    _check_fit(description, transform, where=folder.name)
    from safetensors.torch import save_file

    with atomic_dir(folder) as beside:
        weights = model.state_dict()
        with atomic_file(beside / WEIGHTS) as path:
            save_file({name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}, path)
        transform.save(beside)
        reference.save(beside)
        save_goldens(beside, goldens, golden_clip)
        hashes = {name: file_sha256(beside / name) for name in FILES}
        text = canonical_json({"format": FORMAT, "files": hashes, **description.to_json()}) + "\n"
        (beside / DESCRIPTION).write_text(text, encoding="utf-8")
        write_json(beside / LINEAGE, asdict(lineage))
        sha256 = file_sha256(beside / DESCRIPTION)
    return sha256


def load_bundle(folder: Path) -> Bundle:
    """Verifies and reads a bundle; nothing of it is executed.

    Raises:
        BundleError: as `verify_files`; or the parts do not fit together or do not fit this code.
    """
    sha256, value = verify_files(folder)
    where = f"{folder.name}/{DESCRIPTION}"
    description = Description.from_json(value, where=where)
    transform = Transform.load(folder)
    _check_fit(description, transform, where=where)
    reference = Reference.load(folder)
    for name, gaussian in reference.modalities.items():
        if transform.widths.get(name) != gaussian.mean.size:
            raise BundleError(
                "the outlier reference does not fit the transform",
                where=f"{where}: {name}",
                seen=gaussian.mean.size,
                allowed=transform.widths.get(name),
            )
    try:
        model = build_model(description.spec)
        load_weights(model, load_file(folder / WEIGHTS), where=f"{folder.name}/{WEIGHTS}")
    except BundleError:
        raise
    except (MerError, SafetensorError, RuntimeError, OSError) as error:
        raise BundleError("the weights do not fit the model", where=folder.name, seen=str(error)) from error
    return Bundle(
        folder=folder,
        sha256=sha256,
        description=description,
        model=model.eval(),
        transform=transform,
        reference=reference,
        goldens=load_goldens(folder, description.spec),
        lineage=_load_lineage(folder / LINEAGE),
        golden_clip=load_golden_clip(folder),
    )


def _check_fit(description: Description, transform: Transform, *, where: str) -> None:
    widths = dict(description.spec.modalities)
    if transform.widths != widths:
        raise BundleError("the transform does not fit the model", where=where, seen=transform.widths, allowed=widths)
    for name, width in widths.items():
        encoder = description.encoders.get(name)
        if encoder is None or encoder.width != width:
            raise BundleError(
                "the encoder does not fit the model",
                where=f"{where}: {name}",
                seen=None if encoder is None else encoder.width,
                allowed=width,
            )


def _taxonomy(value: Any) -> str | dict[str, Any]:
    """A name as it is, since a version without experts needs no more; one's own checked."""
    if isinstance(value, str):
        return value
    own = Taxonomy.from_json(value).to_json()
    assert isinstance(own, dict)
    return own


def _encoder(value: Mapping[str, Any]) -> EncoderSpec:
    return EncoderSpec(spec=str(value["spec"]), fingerprint=str(value["fingerprint"]), width=int(value["width"]))


def _check_bounds(spec: ModelSpec, where: str) -> None:
    bounds = {
        "model.width": (spec.model.width, MAX_WIDTH),
        "model.tcn_blocks": (spec.model.tcn_blocks, MAX_BLOCKS),
        "model.tcn_kernel": (spec.model.tcn_kernel, MAX_WIDTH),
        "classes": (len(spec.classes), MAX_CLASSES),
        "modalities": (len(spec.modalities), MAX_MODALITIES),
        "features": (max(spec.modalities.values()), MAX_FEATURES),
        **{f"upper.{name}.layers": (layers.layers, MAX_BLOCKS) for name, layers in spec.upper.items()},
        **{f"upper.{name}.width": (max(layers.width, layers.rank), MAX_WIDTH) for name, layers in spec.upper.items()},
    }
    for name, (size, allowed) in bounds.items():
        if size > allowed:
            raise BundleError(
                "the model is larger than this code allows", where=f"{where}: {name}", seen=size, allowed=allowed
            )


def _load_lineage(path: Path) -> Lineage:
    value = read_bounded_json(path)
    names = {entry.name for entry in fields(Lineage)}
    if set(value) != names:
        raise BundleError(
            "the lineage has different fields",
            where=path.name,
            seen=", ".join(sorted(value)),
            allowed=", ".join(sorted(names)),
        )
    return Lineage(**value)
