"""The MLflow run of a training: the one file of this component that knows MLflow.

A run is found again by the tag `mer.model_sha256`. A training that was interrupted and goes on continues its run; one
that is made anew gets a run of its own, and the newest finished run of a model is the one that `find_run` gives.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.contracts.config import Tracking
from components.contracts.errors import ModelError
from components.training.job import Epoch

MODEL_TAG = "mer.model_sha256"
INPUTS_TAG = "mer.inputs_sha256"
NOTE_TAG = "mlflow.note.content"
SQLITE = "sqlite:///"
BATCH = 100
DIGEST_CHARACTERS = 32


def tracking_uri(tracking: Tracking, root: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else the configured one, a relative sqlite path being below `root`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
    if uri.startswith(SQLITE):
        path = uri.removeprefix(SQLITE)
        if path and not path.startswith("/") and path != ":memory:":
            file = root.resolve() / path
            file.parent.mkdir(parents=True, exist_ok=True)
            return f"{SQLITE}{file}"
    return uri


def client_of(tracking: Tracking, root: Path) -> Any:
    """An `MlflowClient` of the configured store; sets nothing global."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri(tracking, root))


def experiment_id(client: Any, tracking: Tracking, root: Path) -> str:
    """The experiment's id; makes it if needed, with artifacts below `root` when the store is a local file."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(tracking.experiment)
    if found is None:
        local = tracking_uri(tracking, root).startswith(SQLITE)
        location = (root.resolve() / tracking.artifacts).as_uri() if local else None
        try:
            return str(client.create_experiment(tracking.experiment, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(tracking.experiment)
            if found is None:
                raise
    return str(found.experiment_id)


def find_run(tracking: Tracking, root: Path, model_sha256: str) -> str:
    """The id of the newest finished run that made a model. Raises ModelError when this store has none."""
    client = client_of(tracking, root)
    runs = client.search_runs(
        [experiment_id(client, tracking, root)],
        filter_string=f"tags.`{MODEL_TAG}` = '{model_sha256}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not runs:
        raise ModelError(
            "no MLflow run made this model",
            where=f"{tracking_uri(tracking, root)}, experiment {tracking.experiment}",
            seen=f"{MODEL_TAG}={model_sha256}",
            remedy="Train with this store configured: `dvc repro --single-item --force train`.",
        )
    return str(runs[0].info.run_id)


class TrainingRun:
    """An open run. Values go to this run by its id, so several may be open in one process."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters under dotted names."""
        from mlflow.entities import Param

        flat = [Param(name, _text(value)) for name, value in flatten(values).items()]
        for first in range(0, len(flat), BATCH):
            self.client.log_batch(self.run_id, params=flat[first : first + BATCH])

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in values.items()])

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Metrics of one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def epoch(self, epoch: Epoch, *, prefix: str = "") -> None:
        """The record of an epoch, with its speed; `prefix` goes before the names."""
        values = {name: float(value) for name, value in epoch.record.items() if name != "epoch"}
        values["steps_per_s"] = epoch.steps / max(epoch.seconds, 1e-9)
        named = {f"{prefix}{name}": value for name, value in values.items()}
        self.metrics(named, step=int(epoch.record["epoch"]))

    def dataset(self, name: str, *, sha256: str, uri: str, profile: Mapping[str, Any], context: str) -> None:
        """A dataset as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=sha256[:DIGEST_CHARACTERS],
            source_type="local",
            source=json.dumps({"uri": uri}),
            profile=json.dumps(dict(profile), sort_keys=True),
        )
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def figure(self, figure: Any, name: str) -> None:
        """A matplotlib figure as a picture."""
        self.client.log_figure(self.run_id, figure, name)

    def file(self, path: Path, *, to: str | None = None) -> None:
        """A file as an artifact, in a folder of the run."""
        self.client.log_artifact(self.run_id, str(path), to)

    def text(self, text: str, name: str) -> None:
        """A text as an artifact."""
        self.client.log_text(self.run_id, text, name)

    def describe(self, markdown: str) -> None:
        """The run's description in the UI."""
        self.tags({NOTE_TAG: markdown})

    def link(self, artifact: str) -> str:
        """Where the UI shows an artifact, relative to the UI wherever it is served."""
        experiment = self.client.get_run(self.run_id).info.experiment_id
        return f"#/experiments/{experiment}/runs/{self.run_id}/artifacts/{artifact}"


@contextmanager
def open_run(tracking: Tracking, root: Path, *, inputs_sha256: str, name: str, resume: bool) -> Iterator[TrainingRun]:
    """Opens the run of a training; it ends FINISHED, FAILED on an error, KILLED when it was stopped by hand.

    Args:
        tracking, root: the store.
        inputs_sha256: what is trained.
        name: shown in the list of runs.
        resume: go on with the newest unfinished run of the same inputs, if there is one.
    """
    client = client_of(tracking, root)
    experiment = experiment_id(client, tracking, root)
    run_id = _unfinished(client, experiment, inputs_sha256) if resume else None
    if run_id is None:
        tags = {INPUTS_TAG: inputs_sha256}
        run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
    else:
        client.update_run(run_id, status="RUNNING")
    try:
        yield TrainingRun(client, run_id)
    except (KeyboardInterrupt, SystemExit):
        client.set_terminated(run_id, status="KILLED")
        raise
    except BaseException as error:
        client.set_tag(run_id, "mer.error", str(error)[:500])
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id, status="FINISHED")


def _unfinished(client: Any, experiment: str, inputs_sha256: str) -> str | None:
    runs = client.search_runs(
        [experiment],
        filter_string=f"tags.`{INPUTS_TAG}` = '{inputs_sha256}' and attributes.status != 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return str(runs[0].info.run_id) if runs else None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names; an empty mapping is left out."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
