"""A training prepared from the catalog: what it learns from, under which transform, and what its outputs depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.catalog.case_labels import CaseLabels
from components.catalog.cases import Case, CasesOnDisk, fit_transform, labels_of, prepare
from components.catalog.examples import widths_of
from components.catalog.packed import read_examples
from components.contracts import versions
from components.contracts.atomic import read_json
from components.contracts.config import Model, Runtime, Train
from components.contracts.errors import DataError, ModelError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.features.transform import Transform
from components.model.build import used_modalities
from components.model.spec import ModelSpec
from components.training.adapted import check_adapted, upper_of
from components.training.earlier import Earlier
from components.training.job import Job, resume_name
from components.training.loop import TrainingTask
from components.training.nodes.materials import START, TRANSFORM, NodeMaterials, publish
from components.training.samples.prompts import embedding_width
from components.training.samples.source import HELD_OUT, LEARNED, CatalogItems


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What a training is made of.

    Attributes:
        catalog: `catalog.json`.
        earlier: the version that it starts from, if there is one.
        transform: fitted on the training split.
        items: the clips of the training split.
        inputs_sha256: of everything that the outputs depend on.
    """

    catalog: Mapping[str, Any]
    earlier: Earlier | None
    transform: Transform
    items: Sequence[Case]
    inputs_sha256: str

    @classmethod
    def read(cls, layout: Layout, *, model: Model, train: Train, runtime: Runtime, seed: int) -> Materials:
        """From the project.

        Raises:
            ConfigError: training cannot start from the version that `train.start_from` names.
            DataError: the catalog is missing, or has no usable training clip.
            ModelError: the version to start from is missing or damaged.
        """
        catalog, earlier = _catalog(layout), _earlier(layout, train)
        transform, items = _prepare(catalog, layout, model, train, earlier, runtime=runtime)
        sha256 = _inputs(catalog, model=model, train=train, rate_hz=items[0].rate_hz, seed=seed, earlier=earlier)
        return cls(catalog=catalog, earlier=earlier, transform=transform, items=items, inputs_sha256=sha256)

    def job(
        self,
        layout: Layout,
        folder: Path,
        *,
        model: Model,
        train: Train,
        runtime: Runtime,
        seed: int,
        refit: bool = False,
    ) -> tuple[Job, int]:
        """The training on the training split, or with `refit` on the calibration split too, and its number of clips.

        The transform, and what the training starts from, go into `folder`, which must stay until the training is done.
        With `runtime.store` they and all else that workers read go there too.

        Raises:
            ConfigError: `runtime.store` is not an address of an object store.
            DataError: that store fails.
        """
        self.transform.save(folder / TRANSFORM)
        source = CatalogItems(
            root=layout.root.resolve(),
            transform=folder.resolve() / TRANSFORM,
            refit=refit,
            memory_mb=runtime.clips_mb,
            address=runtime.features,
        )
        start = None
        if self.earlier is not None:
            start = self.earlier.start(self.catalog["encoders"], self.transform.modalities, folder.resolve() / START)
        items = source(LEARNED) if refit else self.items
        if isinstance(items, CasesOnDisk):
            source = replace(source, known=_known(source, items, held_out=runtime.workers > 0 and not refit))
        spec = spec_of(self.catalog, self.transform, items, model=model, train=train)
        sha256 = fingerprint([self.inputs_sha256, "refit"]) if refit else self.inputs_sha256
        if runtime.workers and runtime.store is not None:
            materials = self._publish(layout, folder, runtime, runtime.store)
            source = replace(source, materials=materials, cache_mb=runtime.cache_mb)
            start = None if start is None else replace(start, materials=materials)
        task = TrainingTask(spec=spec, train=train, seed=seed, start=start)
        return Job(task=task, items=source, inputs_sha256=sha256), len(items)

    def _publish(self, layout: Layout, folder: Path, runtime: Runtime, store: str) -> NodeMaterials:
        return publish(
            layout,
            store,
            resume_name(self.inputs_sha256),
            transform=folder / TRANSFORM,
            start=None if self.earlier is None else folder / START,
            datasets=self.catalog["datasets"],
            address=runtime.features,
            cache_mb=math.inf if runtime.cache_mb is None else runtime.cache_mb,
        )


def _known(source: CatalogItems, learned: CasesOnDisk, *, held_out: bool) -> dict[str, CaseLabels]:
    """What workers need not go through their clips for."""
    known = {LEARNED: learned.labels}
    if held_out and isinstance(cases := source(HELD_OUT), CasesOnDisk):
        known[HELD_OUT] = cases.labels
    return known


def _catalog(layout: Layout) -> dict[str, Any]:
    path = layout.catalog / "catalog.json"
    if not path.is_file():
        raise DataError("there is no catalog to train on", where=str(path), remedy="Run the catalog stage first.")
    return dict(read_json(path))


def _earlier(layout: Layout, train: Train) -> Earlier | None:
    """The version that training starts from."""
    if train.start_from is None:
        return None
    earlier = Earlier.read(layout.start)
    if earlier is None:
        raise ModelError(
            "the version to start from is not there",
            where=f"train.start_from: {train.start_from}",
            seen=str(layout.start),
            remedy="`mer inputs` writes it.",
        )
    return earlier


def _inputs(
    catalog: Mapping[str, Any], *, model: Model, train: Train, rate_hz: float, seed: int, earlier: Earlier | None
) -> str:
    """The fingerprint of everything that the outputs depend on. Of a version that training starts from the bundle
    counts, not what it is called."""
    return fingerprint(
        {
            "version": versions.TRAIN,
            "catalog": catalog["sha256"],
            "classes": catalog["classes"],
            "encoders": catalog["encoders"],
            "model": model.model_dump(mode="json"),
            "train": train.model_dump(mode="json", exclude={"start_from"}),
            "rate_hz": rate_hz,
            "seed": seed,
            **({} if earlier is None else {"start": earlier.bundle_sha256}),
        }
    )


def _prepare(
    catalog: Mapping[str, Any],
    layout: Layout,
    model: Model,
    train: Train,
    earlier: Earlier | None,
    *,
    runtime: Runtime,
) -> tuple[Transform, Sequence[Case]]:
    examples = read_examples(layout, "train", memory_mb=runtime.clips_mb, address=runtime.features)
    check_adapted(train, catalog["encoders"])
    fitted = fit_transform(
        examples, widths_of(catalog), standardise=model.standardise, normalise=train.normalise, raw=train.adapt
    )
    if earlier is not None:
        earlier.check(model, rate_hz=examples[0].rate_hz, encoders=catalog["encoders"], present=fitted.modalities)
        fitted = earlier.under(fitted, catalog["encoders"])
    transform = fitted.only(used_modalities(model, fitted.modalities))
    items = prepare(examples, transform, usable=True)
    if not items:
        raise DataError(
            "no training clip has both a label and a valid step",
            where="catalog, split train",
            seen=f"{len(examples)} clips",
            remedy="See data/validated/*/quarantine.parquet for the clips that were set aside.",
        )
    return transform, items


def spec_of(
    catalog: Mapping[str, Any], transform: Transform, items: Sequence[Case], *, model: Model, train: Train
) -> ModelSpec:
    """The model for the training clips `items`, all of one rate, and the modalities of their transform."""
    classes = tuple(catalog["classes"])
    labels = labels_of(items)
    learned = {classes[label] for label in labels.classes}
    return ModelSpec(
        modalities=transform.widths,
        classes=classes,
        model=model,
        absent=tuple(name for name in classes if name not in learned),
        rate_hz=items[0].rate_hz,
        valence_arousal=train.valence_arousal_loss > 0 and all(labels.rated),
        embedding=embedding_width(train, model),
        upper=upper_of(train, catalog["encoders"], transform.widths) if train.adapt else {},
        utterances=model.preset == "default" and model.clip_head != "temporal" and labels.by_stretch,
    )
