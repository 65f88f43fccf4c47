"""The `evaluate` stage: `data/trained` and the catalog → `data/evaluated`, and the MLflow run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from components.catalog.cases import prepare
from components.catalog.examples import Example
from components.catalog.packed import read_examples
from components.contracts.atomic import read_json
from components.contracts.config import Evaluate, Gates, Runtime, Tracking, Train
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.evaluation import evaluate as evaluating
from components.evaluation.evaluate import Evaluation
from components.evaluation.gates import passed
from components.evaluation.intervals import Bootstrap
from components.evaluation.pages.write import summary, write_evaluation
from components.evaluation.versions.earlier import compare, people_of
from components.features.transform import Transform
from components.model.files import WEIGHTS, load_model
from components.model.spec import ModelSpec
from components.runtime.progress import progress
from components.tracking.publish import publish
from components.training.earlier import Earlier, Encoders, Taken


def run(
    layout: Layout,
    *,
    evaluate: Evaluate,
    gates: Gates,
    model_name: str,
    runtime: Runtime,
    seed: int,
    tracking: Tracking,
    train: Train,
) -> dict[str, Any]:
    """Evaluates the trained model and writes everything that `Layout.evaluated` names.

    A model that was trained again (`train.refit`) answers with the parameters fitted for the first one. A split whose
    features take more than `runtime.clips_mb` is read from disk, clip by clip.

    Raises:
        ModelError: the trained model is missing, damaged, or of a different label map.
        DataError: no test clip can be scored.
        UnavailableError: the disk is full, or MLflow cannot be reached; then the files are written.
    """
    catalog = read_json(layout.catalog / "catalog.json")
    classes = tuple(catalog["classes"])
    model = load_model(layout.trained, classes=classes)
    first = load_model(layout.trained_first, classes=classes) if layout.trained_first.is_dir() else None
    transform = Transform.load(layout.trained)
    read = partial(read_examples, layout, memory_mb=runtime.clips_mb, address=runtime.features)
    test = read("test")
    splits = evaluating.Splits(
        train=prepare(read("train"), transform),
        calibration=prepare(read("calibration"), transform),
        test=prepare(test, transform),
    )
    with progress("evaluate: test clips", len(splits.test)) as advance:
        evaluation = evaluating.evaluate(
            model,
            splits,
            config=evaluate,
            gates=gates,
            seed=seed,
            first=first,
            train=train,
            advance=advance,
        )
    evaluation = _compared(
        layout,
        evaluation,
        test,
        spec=model.spec,
        encoders=catalog["encoders"],
        config=evaluate,
        seed=seed,
    )
    datasets = sorted(catalog["datasets"])
    title = f"{model_name} on {', '.join(datasets)}"
    write_evaluation(layout.evaluated, evaluation, title=title, datasets=datasets, config=evaluate)
    publish(
        layout.evaluated,
        evaluation.metrics,
        tracking=tracking,
        root=layout.root,
        model_sha256=file_sha256(layout.trained / WEIGHTS),
    )
    return summary(evaluation, passed(evaluation.gates))


def _compared(
    layout: Layout,
    evaluation: Evaluation,
    test: Sequence[Example],
    *,
    spec: ModelSpec,
    encoders: Encoders,
    config: Evaluate,
    seed: int,
) -> Evaluation:
    """The evaluation with its comparison (`evaluate.compare_with`), and with whom the version started from learned."""
    figures = dict(evaluation.metrics)
    earlier = Earlier.read(layout.compared)
    if earlier is not None and config.compare_with is not None:
        bootstrap = Bootstrap(draws=config.bootstrap, confidence=config.confidence, seed=seed)
        figures["compared"] = compare(earlier, evaluation, test, spec=spec, encoders=encoders, bootstrap=bootstrap)
    if (started := Taken.read(layout.started)) is not None:
        figures["started_from"] = {
            **started.to_json(),
            "words": started.words,
            "test_people_of_its_corpora": people_of(started.corpora, evaluation.cases),
        }
    return replace(evaluation, metrics=figures)
