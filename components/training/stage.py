"""The train stage: the catalog's training clips in, a model with its transform out.

Writes `model.safetensors` (averaged weights), `model.json`, `transform.safetensors`, `transform.json` and
`history.json`, all pure functions of the catalog and the configuration; records of this execution (durations, commit,
plots) go to MLflow.

With `train.refit` there are two trainings: the model of the first, from the training people alone, goes to `first/`;
everything that is fitted on the calibration people is fitted with it. The second, from a fresh start on the people of
both splits, is the one that answers. scikit-learn's `CalibratedClassifierCV(ensemble=False)` likewise calibrates on
held-out people and answers with a model of all of them; here there is one held-out part instead of several. Both use
the same transform, fitted on the training people.

With `train.start_from` each begins with the weights of an earlier version (`earlier.py`); what was taken over goes to
`start.json`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Model, RayResources, Runtime, Tracking, Train
from components.contracts.errors import ModelError
from components.contracts.fingerprint import file_sha256
from components.contracts.layout import Layout
from components.contracts.lineage import collect
from components.features.transform import Transform
from components.model.base import count_parameters
from components.model.build import build_model
from components.model.files import WEIGHTS, save_model
from components.model.spec import ModelSpec
from components.runtime.progress import progress
from components.tracking.origin import ORIGIN, Origin
from components.tracking.runs import MODEL_TAG
from components.tracking.spooled import SpooledRun, open_run
from components.training.clock import in_words
from components.training.curves import training_curves
from components.training.data_docs import log_data_docs
from components.training.earlier import Earlier
from components.training.job import Epoch, Job, Trained, resume_name
from components.training.nodes.materials import forget
from components.training.nodes.place import Place
from components.training.prepare import Materials
from components.training.profiling import TRACE
from components.training.trainer import fit

HISTORY = "history.json"
# The folder of a training's records for MLflow, in that of its unfinished state.
SPOOL = "mlflow"


def run(
    layout: Layout,
    *,
    model: Model,
    ray: RayResources,
    recorded: str,
    runtime: Runtime,
    seed: int,
    tracking: Tracking,
    train: Train,
) -> dict[str, Any]:
    """Trains on the catalog's `train` split; with `train.refit` then on `train` and `calibration`.

    Args:
        layout: the project's.
        model, train, seed: what the outputs depend on, beside the catalog.
        ray, runtime, tracking: where and how it runs, and where it is logged.
        recorded: the whole configuration as JSON, for the parameters of the MLflow run; it is not read otherwise.

    Returns:
        of the model that answers: model_sha256, parameters, epochs, clips, absent classes, modalities, those with
        features that the model does not take or that no training clip has, and the last epoch's record;
        `clips_first`, of the first of two; `started_from`, what it took over from an earlier version.

    Raises:
        ConfigError: training cannot start from the version that `train.start_from` names.
        DataError: the catalog is missing, or has no usable training clip.
        ModelError: fewer than two classes to learn, or training failed.
        UnavailableError: the training is done, its outputs are written, and MLflow does not have all of its records;
            the next call delivers them without training again.
    """
    materials = Materials.read(layout, model=model, train=train, runtime=runtime, seed=seed)
    catalog, earlier, inputs_sha256 = materials.catalog, materials.earlier, materials.inputs_sha256
    folder = layout.state / "train" / resume_name(inputs_sha256)
    make = partial(materials.job, layout, folder, model=model, train=train, runtime=runtime, seed=seed)
    job, clips = make()
    rounds = [_Round(job=job, clips=clips, folder=folder)]
    if train.refit:
        job, clips = make(refit=True)
        rounds.append(_Round(job=job, clips=clips, folder=folder / "refit", name="refit", prefix="refit_"))
    transform = materials.transform
    del materials, make  # and with them the clips, which workers read for themselves
    name = "+".join(sorted(catalog["datasets"]))
    with open_run(tracking, layout.root, inputs_sha256=inputs_sha256, name=name, folder=folder / SPOOL) as tracked:
        tracked.params(json.loads(recorded))
        _describe(tracked, layout, catalog, seed)
        if earlier is not None:
            tracked.tags(earlier.taken(rounds[0].job.task.spec, catalog["encoders"]).tags())
        trained = [_fit(training, runtime, ray, tracked, layout.profile) for training in rounds]
        summary = _write(layout, rounds, transform, trained, encoders=catalog["encoders"], earlier=earlier)
        _conclude(tracked, layout, rounds, trained, summary)
    for training in rounds:
        training.job.checkpoints(training.folder, runtime).forget()
        Place.of(training.job, training.folder, runtime).forget()
    if runtime.store is not None and runtime.workers:
        forget(layout, runtime.store, resume_name(inputs_sha256))
    shutil.rmtree(folder, ignore_errors=True)
    return summary


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One training of the stage: its job, number of clips, folder of unfinished state, and name.

    `prefix` goes before the names of its curves in MLflow.
    """

    job: Job
    clips: int
    folder: Path
    name: str = "train"
    prefix: str = ""

    @property
    def done(self) -> Path:
        """The folder of its result until the stage's outputs are written."""
        return self.folder / "done"


def _describe(tracked: SpooledRun, layout: Layout, catalog: Mapping[str, Any], seed: int) -> None:
    lineage = collect(layout.root, data_sha256=catalog["sha256"], datasets=dict(catalog["datasets"]), seed=seed)
    tracked.tags(lineage.tags())
    origin = Origin.of_project(layout.root, data_sha256=catalog["sha256"])
    tracked.text(json.dumps(origin.to_json(), indent=2), ORIGIN)
    for name, sha256 in sorted(catalog["datasets"].items()):
        result = read_json(layout.validated(name) / "result.json")
        success = str(bool(result["success"])).lower()
        profile: dict[str, Any] = {"splits": catalog["splits"], "validated": success}
        tracked.tags({f"gx.{name}.success": success, f"gx.{name}.fingerprint": result["fingerprint"]})
        uri = layout.dataset(name).relative_to(layout.root).as_posix()
        tracked.dataset(name, sha256=sha256, uri=uri, profile=profile, context="training")
    log_data_docs(tracked, layout, catalog)


def _useful(runtime: Runtime, one: _Round) -> Runtime:
    """Without workers that would never have a clip: a batch is spread over them, one clip, or with `train.windows` one
    window of a clip, at least for each."""
    train = one.job.task.train
    most, kind = min(train.batch_clips, one.clips), "clips"
    if most < runtime.workers and train.windows:
        if most < train.batch_clips:  # so these clips are few, and soon counted
            most = min(train.batch_clips, len(one.job.training()))
        kind = "windows"
    if runtime.workers <= most:
        return runtime
    print(f"{one.name}: {most} workers instead of {runtime.workers}, since a batch has {most} {kind}", file=sys.stderr)
    fewest = None if runtime.min_workers is None else min(runtime.min_workers, most)
    return runtime.model_copy(update={"workers": most, "min_workers": fewest})


def _fit(one: _Round, runtime: Runtime, ray: RayResources, tracked: SpooledRun, profile: Path) -> Trained:
    """Trains, or reads the result of a run that was interrupted afterwards; says where the time went."""
    seconds, parts = 0.0, Counter[str]()

    def log(epoch: Epoch) -> None:
        metrics = {f"{one.prefix}{name}": value for name, value in epoch.metrics.items()}
        tracked.metrics(metrics, step=epoch.number)

    if (one.done / HISTORY).is_file():
        history = read_json(one.done / HISTORY)["epochs"]
        for record in history:
            log(Epoch(record=record, seconds=None, steps=0))
        _keep_trace(one, tracked, profile)
        return Trained(weights=load_file(one.done / WEIGHTS), history=history)
    with progress(one.name, one.job.task.train.epochs) as advance:
        done = 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal done, seconds
            log(epoch)
            seconds += epoch.seconds or 0.0
            parts.update(epoch.parts)
            advance(epoch.number + 1 - done)
            done = epoch.number + 1

        trained = fit(one.job, one.folder, runtime=_useful(runtime, one), resources=ray, on_epoch=on_epoch)
    if not trained.history:
        raise ModelError("training ended without an epoch", where=one.name)
    if seconds:  # not where a checkpoint holds every epoch
        print(f"{one.name}: {in_words(parts, seconds)}", file=sys.stderr)
    _save(one.done, one.job.task.spec, trained)
    _keep_trace(one, tracked, profile)
    return trained


def _keep_trace(one: _Round, tracked: SpooledRun, profile: Path) -> None:
    """Takes the trace of a training, if there is one, out of the folder that goes with it."""
    if (one.folder / TRACE).is_file():
        profile.mkdir(parents=True, exist_ok=True)
        kept = (one.folder / TRACE).replace(profile / f"{one.name}.json")
        tracked.file(kept, to="profile")
        print(f"{one.name}: its trace is in {kept}, for https://ui.perfetto.dev", file=sys.stderr)


def _save(folder: Path, spec: ModelSpec, trained: Trained) -> None:
    """The history is written last: where it exists, the rest does too."""
    save_model(folder, spec, trained.weights)
    write_json(folder / HISTORY, {"epochs": trained.history})


def _write(
    layout: Layout,
    rounds: Sequence[_Round],
    transform: Transform,
    trained: Sequence[Trained],
    *,
    encoders: Mapping[str, Mapping[str, Any]],
    earlier: Earlier | None,
) -> dict[str, Any]:
    final, spec = trained[-1], rounds[-1].job.task.spec
    ignored = sorted(set(encoders) - set(spec.modalities))
    transform.save(layout.trained)
    _save(layout.trained, spec, final)
    # The first model of an earlier run would be mistaken for that of this one.
    shutil.rmtree(layout.trained_first, ignore_errors=True)
    if len(rounds) > 1:
        _save(layout.trained_first, rounds[0].job.task.spec, trained[0])
    started = _write_started(layout, earlier, spec, encoders)
    return {
        "model_sha256": file_sha256(layout.trained / WEIGHTS),
        "parameters": count_parameters(build_model(spec)),
        "clips": rounds[-1].clips,
        **({"clips_first": rounds[0].clips} if len(rounds) > 1 else {}),
        "epochs": len(final.history),
        "absent": list(spec.absent),
        "modalities": dict(spec.modalities),
        **({"ignored_modalities": ", ".join(ignored)} if ignored else {}),
        **started,
        "last": final.history[-1],
    }


def _write_started(
    layout: Layout, earlier: Earlier | None, spec: ModelSpec, encoders: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Writes what the training started from; of none nothing, so that it has the outputs it always had."""
    if earlier is None:
        layout.started.unlink(missing_ok=True)
        return {}
    taken = earlier.taken(spec, encoders)
    write_json(layout.started, taken.to_json())
    return {"started_from": taken.words}


def _conclude(
    tracked: SpooledRun,
    layout: Layout,
    rounds: Sequence[_Round],
    trained: Sequence[Trained],
    summary: Mapping[str, Any],
) -> None:
    tracked.metrics(
        {
            "model_parameters": float(summary["parameters"]),
            "model_bytes": float((layout.trained / WEIGHTS).stat().st_size),
            "training_clips": float(summary["clips"]),
        }
    )
    for one, made in zip(rounds, trained, strict=True):
        tracked.figure(training_curves(made.history), f"plots/{one.prefix}training.png")
    for name in (HISTORY, "model.json"):
        tracked.file(layout.trained / name)
        if len(rounds) > 1:
            tracked.file(layout.trained_first / name, to="first")
    tracked.tags({MODEL_TAG: summary["model_sha256"]})
