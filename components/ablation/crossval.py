"""One training of a cross-validation: fit on a fold's training split, calibrate on the next, answer the rest.

Everything that is fitted is fitted inside the fold: the transform and the class balance on its training split, the
temperatures on its calibration split. No step uses the labels of the test split before its answers are written.

With `train.refit` a second model is trained on the training and the calibration split. Calibrated on people
that it was trained on it would be far too confident, so it answers the test split with the calibration of the first.

Legend: N items, T steps, K classes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.ablation.answering import answer, calibrate, labels_of
from components.ablation.answers import ADAPTED, SPLITS, FoldResult
from components.ablation.folds import CatalogRow, Fold
from components.catalog.cases import Case, fit_transform, prepare, prepare_to_learn
from components.catalog.clips import Clips
from components.catalog.examples import Example, load_examples
from components.contracts import versions
from components.contracts.atomic import read_json
from components.contracts.config import Params, Runtime
from components.contracts.errors import DataError
from components.contracts.fingerprint import fingerprint
from components.contracts.labels import UNLABELLED
from components.contracts.layout import Layout
from components.evaluation.objectives import shift_for
from components.features.recordings import PRIOR_CLIPS, gather
from components.features.transform import Transform
from components.inference.calibration import Calibration
from components.model.base import EmotionModel, count_parameters
from components.model.build import build_model, used_modalities
from components.model.files import load_weights
from components.training.earlier import Earlier
from components.training.job import Job, fit_here
from components.training.loop import TrainingTask
from components.training.prepare import spec_of

Floats = NDArray[np.float32]

FORMAT = 2
# The clips that a model learns from when it is trained again.
BOTH = "train and calibration"
# Where a result's facts keep what was fitted on the calibration split.
CALIBRATION = "calibration"


@dataclass(frozen=True, kw_only=True)
class CatalogClips:
    """All clips of a catalog, whatever their split there: `examples` by clip id, `catalog` as in `catalog.json`,
    `corpus_splits` the splits that the corpora publish, by clip id."""

    rows: Sequence[CatalogRow]
    examples: Mapping[str, Example]
    catalog: Mapping[str, Any]
    corpus_splits: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def clips(self) -> Clips:
        """What folds are made of."""
        return Clips.of_rows(self.rows, self.corpus_splits)

    @property
    def widths(self) -> dict[str, int]:
        """Modality → features per step."""
        return {name: int(encoder["width"]) for name, encoder in self.catalog["encoders"].items()}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One training: a resolved configuration, the modalities it may use, a fold, a seed, and the version that it starts
    from."""

    params: Params
    modalities: tuple[str, ...]
    fold: Fold
    seed: int
    earlier: Earlier | None = None

    @property
    def first(self) -> Unit:
        """The training without `train.refit`: this one, or the one whose calibration it takes over."""
        train = self.params.train.model_copy(update={"refit": False})
        return replace(self, params=self.params.model_copy(update={"train": train}))


def load_corpus(root: Path) -> CatalogClips:
    """Reads the catalog of a project and every feature it names; kept in memory for the next call of this process.

    Raises:
        DataError: there is no catalog, or a feature it names is not in the store.
    """
    path = Layout(root).catalog / "catalog.json"
    if not path.is_file():
        raise DataError("there is no catalog", seen=f"no file {path}", remedy="Run `mer run --stage catalog`")
    return _corpus(root, read_json(path)["sha256"])


@lru_cache(maxsize=1)
def _corpus(root: Path, sha256: str) -> CatalogClips:
    layout = Layout(root)
    return CatalogClips(
        rows=pq.read_table(layout.catalog / "catalog.parquet").to_pylist(),
        examples={example.clip_id: example for example in load_examples(layout)},
        catalog=read_json(layout.catalog / "catalog.json"),
        corpus_splits=_corpus_splits(layout),
    )


def _corpus_splits(layout: Layout) -> dict[str, str | None]:
    splits: dict[str, str | None] = {}
    for name in read_json(layout.catalog / "catalog.json")["datasets"]:
        path = layout.validated(name) / "accepted.parquet"
        if path.is_file():
            table = pq.read_table(path, columns=["clip_id", "split"])
            splits.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return splits


def levels(rows: Sequence[CatalogRow]) -> tuple[str, ...]:
    """What can be scored: "clip" where clips are labelled, "step" where spans inside them are. The first one leads."""
    clip = any(row["label"] is not None for row in rows)
    step = any(row["segments"] for row in rows)
    return ("clip",) * clip + ("step",) * step


def unit_fingerprint(unit: Unit, corpus: CatalogClips) -> str:
    """Everything that the result of a training is a function of; equal fingerprints, equal results."""
    if unit.params.train.refit:
        return fingerprint({"refit": unit_fingerprint(unit.first, corpus)})
    return fingerprint(
        {
            "format": FORMAT,
            "version": versions.TRAIN,
            "data": _fold_sha256(unit.fold, corpus),
            "classes": corpus.catalog["classes"],
            "encoders": corpus.catalog["encoders"],
            "modalities": list(unit.modalities),
            "model": unit.params.model.model_dump(mode="json"),
            "train": unit.params.train.model_dump(mode="json", exclude={"refit", "start_from"}),
            "rate_hz": unit.params.alignment.rate_hz,
            "seed": unit.seed,
            **({ADAPTED: PRIOR_CLIPS} if unit.fold.adapts else {}),
            **({} if unit.earlier is None else {"start": unit.earlier.bundle_sha256}),
        }
    )


def _fold_sha256(fold: Fold, corpus: CatalogClips) -> str:
    """The fingerprint of the clips, labels, features and splits of a fold."""
    rows = [{**row, "split": fold.split_of[row["clip_id"]]} for row in corpus.rows if row["clip_id"] in fold.split_of]
    return fingerprint(rows)


def run_unit(unit: Unit, corpus: CatalogClips, first: FoldResult | None = None) -> FoldResult:
    """Trains, calibrates and answers; on one thread, so the same on every machine.

    Args:
        unit: the training.
        corpus: the clips.
        first: the result of `unit.first`, if there is one; used only with `train.refit`.

    Raises:
        DataError: no training clip has one of the modalities and a label.
        ModelError: training failed, or the fold lacks a modality that the preset needs.
    """
    if unit.params.train.refit:
        return _refitted(unit, corpus, first or run_unit(unit.first, corpus))
    started = time.process_time()
    clips = _clips(unit, corpus)
    model = _trained(unit, corpus, clips, "train")
    trained = time.process_time()
    label_levels = levels(corpus.rows)
    classes = len(corpus.catalog["classes"])
    prior = {level: frequencies(clips.whole["train"], level, classes) for level in label_levels}
    train = unit.params.train
    shift = shift_for(train.objective, train, clips.own["train"], classes)
    calibration = calibrate(model, clips.own["calibration"], shift)
    answers = answer(model, calibration, clips.own, prior=prior, levels=label_levels, modalities=clips.modalities)
    return FoldResult(
        answers=answers,
        prior=prior,
        facts={
            # Of one core, so that other work on the machine does not count.
            "core_seconds": {"train": round(trained - started, 3), "answer": round(time.process_time() - trained, 3)},
            "parameters": count_parameters(model),
            "clips": {split: len(cases) for split, cases in clips.whole.items() if split != BOTH},
            # The training clips, so that results can be deleted when one of their people withdraws.
            "learned_from": list(unit.fold.ids("train")),
            CALIBRATION: calibration.to_json(),
        },
    )


def _refitted(unit: Unit, corpus: CatalogClips, first: FoldResult) -> FoldResult:
    """A model trained on the calibration people too, with the calibration of the first model, which was not.

    The calibration split stays answered by the first model: the second one was trained on these labels.
    """
    started = time.process_time()
    clips = _clips(unit, corpus)
    model = _trained(unit, corpus, clips, BOTH)
    trained = time.process_time()
    answers = answer(
        model,
        Calibration.from_json(first.facts[CALIBRATION]),
        {split: clips.own[split] for split in ("test", ADAPTED) if split in clips.own},
        prior=first.prior,
        levels=levels(corpus.rows),
        modalities=clips.modalities,
    )
    seconds = first.facts["core_seconds"]
    return FoldResult(
        answers={**first.answers, **answers},
        prior=first.prior,
        facts={
            **first.facts,
            "core_seconds": {
                "train": round(seconds["train"] + trained - started, 3),
                "answer": round(seconds["answer"] + time.process_time() - trained, 3),
            },
            "parameters": count_parameters(model),
            "learned_from": sorted([*unit.fold.ids("train"), *unit.fold.ids("calibration")]),
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Clips:
    """The clips of a fold by split and for `BOTH`: `whole`, and `own` with the `modalities` that the unit uses; the
    transform of those."""

    whole: Mapping[str, list[Case]]
    own: Mapping[str, list[Case]]
    modalities: tuple[str, ...]
    transform: Transform


def _clips(unit: Unit, corpus: CatalogClips) -> _Clips:
    whole, transform = prepare_fold(
        unit.fold,
        corpus,
        standardise=unit.params.model.standardise,
        normalise=unit.params.train.normalise,
        raw=unit.params.train.adapt,
        earlier=unit.earlier,
    )
    used = used_modalities(unit.params.model, set(unit.modalities) & set(transform.modalities))
    modalities = tuple(name for name in unit.modalities if name in used)
    own: dict[str, list[Case]] = {}
    if modalities:
        own = {split: [restrict(case, modalities) for case in cases] for split, cases in whole.items()}
    if not any(case.usable for case in own.get("train", ())):
        raise DataError(
            "no training clip has one of these modalities and a label",
            where=f"fold {unit.fold.name}",
            seen=", ".join(unit.modalities),
        )
    return _Clips(whole=whole, own=own, modalities=modalities, transform=transform.only(modalities))


def prepare_fold(
    fold: Fold,
    corpus: CatalogClips,
    *,
    standardise: bool = True,
    normalise: str = "pooled",
    raw: Iterable[str] = (),
    earlier: Earlier | None = None,
) -> tuple[dict[str, list[Case]], Transform]:
    """The clips of each split and of `BOTH`, by id, under the transform of the fold's training split. Every variant
    gets the same clips and the same held-out steps: a clip without any feature of the training split is left out, and
    so is the label of a held-out step at which nothing is valid."""
    examples = {
        split: [corpus.examples[clip_id] for clip_id in fold.ids(split)] for split in ("train", "calibration", "test")
    }
    transform = fit_transform(examples["train"], corpus.widths, standardise=standardise, normalise=normalise, raw=raw)
    if earlier is not None:
        transform = earlier.under(transform, corpus.catalog["encoders"])
    cases = {split: list(prepare(of_split, transform)) for split, of_split in examples.items()}
    learned = prepare_to_learn([*examples["train"], *examples["calibration"]], transform)
    cases[BOTH] = sorted(learned, key=lambda case: case.clip_id)
    trained_on = {case.clip_id for case in cases["train"]}
    cases["train"] = [case for case in cases[BOTH] if case.clip_id in trained_on]
    if fold.adapts:
        cases[ADAPTED] = _adapted(examples["test"], transform, corpus.widths)
    for split in (split for split in SPLITS if split in cases):
        cases[split] = [
            replace(case, step_labels=np.where(case.valid, case.step_labels, UNLABELLED)) for case in cases[split]
        ]
    return cases, transform


def _adapted(examples: Sequence[Example], transform: Transform, widths: Mapping[str, int]) -> list[Case]:
    """The test clips, each dataset standardised by what all its recordings have in common; no label is used."""
    cases: list[Case] = []
    for name in sorted({example.dataset for example in examples}):
        own = [example for example in examples if example.dataset == name]
        cases += prepare(own, transform.adapted(gather((example.encoded for example in own), widths)))
    return sorted(cases, key=lambda case: case.clip_id)


def restrict(case: Case, modalities: Sequence[str]) -> Case:
    """The clip with these modalities alone; it may have no valid step then."""
    return replace(
        case,
        features={name: case.features[name] for name in modalities},
        pooled=None if case.pooled is None else {name: case.pooled[name] for name in modalities},
        masks={name: case.masks[name] for name in modalities},
    )


def frequencies(cases: Sequence[Case], level: str, classes: int) -> Floats:
    """(K,) frequency of each class in training; uniform where nothing is labelled."""
    labels = np.concatenate([labels_of(case, level) for case in cases] or [np.empty(0, dtype=np.int64)])
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes).astype(np.float64)
    return (counts / counts.sum() if counts.sum() else np.full(classes, 1 / classes)).astype(np.float32)


def _trained(unit: Unit, corpus: CatalogClips, clips: _Clips, split: str) -> EmotionModel:
    """The model trained on the clips of a split, or of `BOTH`."""
    training = [case for case in clips.own[split] if case.usable]
    spec = spec_of(corpus.catalog, clips.transform, training, model=unit.params.model, train=unit.params.train)
    train, start = unit.params.train, None
    if unit.earlier is not None:
        encoders = corpus.catalog["encoders"]
        unit.earlier.check(spec.model, rate_hz=spec.rate_hz, encoders=encoders, present=spec.names)
        start = unit.earlier.start(encoders, spec.names, unit.earlier.folder)
    job = Job(
        task=TrainingTask(spec=spec, train=train, seed=unit.seed, start=start),
        # Nothing is chosen by held-out scores, so none are made while training.
        items=lambda split: training if split == "train" else (),
        inputs_sha256="ablation",
    )
    with tempfile.TemporaryDirectory(prefix="mer-ablate-") as folder:
        runtime = Runtime(workers=0)
        weights = fit_here(job, Path(folder), lambda epoch: None, runtime).weights
    model = build_model(spec)
    load_weights(model, weights, where="training")
    return model.eval()
