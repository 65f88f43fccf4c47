"""Runs of the configured experiment.

A training's run, which `spooled.py` opens, is found again by the tag `mer.model_sha256`: the newest finished run of a
model is the one that `find_run` gives.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from components.contracts.atomic import read_json
from components.contracts.config import Tracking
from components.contracts.errors import MerError, ModelError, UnavailableError
from components.tracking.address import SQLITE, database, of_project
from components.tracking.artifacts import LOCATION
from components.tracking.client import Client, client_of
from components.tracking.errors import AlreadyInMlflowError, NotInMlflowError
from components.tracking.names import flatten

MODEL_TAG = "mer.model_sha256"
INPUTS_TAG = "mer.inputs_sha256"
ERROR_TAG = "mer.error"
FINISHED = "FINISHED"  # the status of a run that did what it was for
# By these MLflow's page shows a run's description, and nests runs.
NOTE_TAG = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"
# What goes into one request; MLflow takes no more parameters at once.
PARAMS_AT_ONCE, METRICS_AT_ONCE = 100, 500
MAX_ERROR_CHARACTERS = 500
DIGEST_CHARACTERS = 32


class Run:
    """A run, open or ended. Values go to this run by its id, so several may be open in one process."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters under dotted names."""
        from mlflow.entities import Param

        params = [Param(name, _text(value)) for name, value in flatten(values, separator=".").items()]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self.client.log_batch(self.run_id, params=params[first : first + PARAMS_AT_ONCE])

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in values.items()])

    def metrics(self, values: Mapping[str, float], *, step: int = 0, at_ms: int | None = None) -> None:
        """Metrics of one step, measured at a time in milliseconds since 1970, or now. Equal ones count once."""
        from mlflow.entities import Metric

        at_ms = int(time.time() * 1000) if at_ms is None else at_ms
        metrics = [Metric(name, value, at_ms, step) for name, value in values.items()]
        for first in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(self.run_id, metrics=metrics[first : first + METRICS_AT_ONCE])

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

    def json(self, value: Mapping[str, Any], name: str) -> None:
        """A value as an artifact; doing it again replaces it."""
        self.client.log_dict(self.run_id, dict(value), name)

    def read_json(self, name: str) -> Any:
        """What `json` wrote, or None when the store has no such run or the run no such artifact."""
        try:
            self.client.get_run(self.run_id)
        except NotInMlflowError:
            return None
        if name not in {file.path for file in self.client.list_artifacts(self.run_id, name.rpartition("/")[0] or None)}:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            return read_json(Path(self.client.download_artifacts(self.run_id, name, scratch)))

    def describe(self, markdown: str) -> None:
        """The run's description in the UI."""
        self.tags({NOTE_TAG: markdown})

    def link(self, artifact: str) -> str:
        """Where the UI shows an artifact, relative to the UI wherever it is served."""
        experiment = self.client.get_run(self.run_id).info.experiment_id
        return f"#/experiments/{experiment}/runs/{self.run_id}/artifacts/{artifact}"


def experiment_id(client: Client, tracking: Tracking, root: Path) -> str:
    """The experiment's id; makes it if needed, with artifacts below `root` when the store is a local file."""
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        try:
            location = _location(client, tracking, root)
            return str(client.create_experiment(tracking.experiment, artifact_location=location))
        except AlreadyInMlflowError:  # by another process, just now
            experiment = client.get_experiment_by_name(tracking.experiment)
            if experiment is None:
                raise
    _check_location(experiment.artifact_location, tracking, client.uri)
    return str(experiment.experiment_id)


def _location(client: Client, tracking: Tracking, root: Path) -> str | None:
    """Of an experiment's artifacts: a server chooses it, and only a store outside the project has to name a folder."""
    if not client.uri.startswith(SQLITE):
        return None
    file = database(client.uri)
    return LOCATION if file is not None and of_project(file) else (root.resolve() / tracking.artifacts).as_uri()


def _check_location(location: str, tracking: Tracking, uri: str) -> None:
    """Raises UnavailableError where an experiment's artifacts went away with their project: MLflow would make the
    project's folder anew in the old place."""
    parts = urlsplit(location)
    places = Path(unquote(parts.path)).parents
    project = places[min(len(Path(tracking.artifacts).parts), len(places)) - 1] if places else None
    if parts.scheme == "file" and project is not None and not project.is_dir():
        raise UnavailableError(
            "the folder of the experiment's artifacts is gone",
            where=f"{uri}, experiment {tracking.experiment}",
            seen=location,
            remedy="The store is not in the project and names the folder by its path: put the folder back there, or "
            "set tracking.experiment to a new name.",
        )


def find_run(tracking: Tracking, root: Path, model_sha256: str) -> str:
    """The id of the newest finished run that made a model. Raises ModelError when this store has none."""
    client = client_of(tracking, root)
    run_id = newest(client, experiment_id(client, tracking, root), MODEL_TAG, model_sha256, finished=True)
    if run_id is None:
        raise ModelError(
            "no MLflow run made this model",
            where=f"{client.uri}, experiment {tracking.experiment}",
            seen=f"{MODEL_TAG}={model_sha256}",
            remedy="Train with this store configured: `dvc repro --single-item --force train`.",
        )
    return run_id


def run_of(tracking: Tracking, root: Path, model_sha256: str) -> Run:
    """The run that trained a model; a new one, marked as restored, when this store does not have it.

    A training whose outputs came from a DVC cache, or a store that was deleted, has no run; what follows it must still
    have a place to be seen.
    """
    client = client_of(tracking, root)
    run_id = newest(client, experiment_id(client, tracking, root), MODEL_TAG, model_sha256, finished=True)
    if run_id is not None:
        return Run(client, run_id)
    tags = {MODEL_TAG: model_sha256, "mer.restored": "trained elsewhere; this store has no run of the training"}
    with new_run(tracking, root, name=f"restored {model_sha256[:8]}", tags=tags) as run:
        return run


def has_run(tracking: Tracking, root: Path, *, tag: str, value: str) -> bool:
    """Whether the experiment has a finished run with this tag."""
    client = client_of(tracking, root)
    return newest(client, experiment_id(client, tracking, root), tag, value, finished=True) is not None


@contextmanager
def new_run(
    tracking: Tracking, root: Path, *, name: str, tags: Mapping[str, str], parent: Run | None = None
) -> Iterator[Run]:
    """Opens a new run, below `parent` if there is one; it ends FINISHED, FAILED on an error, KILLED when it was stopped
    by hand.

    Raises:
        UnavailableError: MLflow cannot be reached; the same for every method of the run.
    """
    client = client_of(tracking, root)
    nested = {} if parent is None else {PARENT_TAG: parent.run_id}
    made = client.create_run(experiment_id(client, tracking, root), tags={**tags, **nested}, run_name=name)
    run = Run(client, str(made.info.run_id))
    with ending(run.tags, lambda status: client.set_terminated(run.run_id, status=status)):
        yield run


@contextmanager
def kept_run(tracking: Tracking, root: Path, *, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Opens the newest run that has all of these tags again, or a new one; it ends as that of `new_run`."""
    client = client_of(tracking, root)
    experiment = experiment_id(client, tracking, root)
    kept = client.search_runs(
        [experiment],
        filter_string=" and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items()),
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if kept:
        run = Run(client, str(kept[0].info.run_id))
        client.update_run(run.run_id, status="RUNNING")
    else:
        run = Run(client, str(client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id))
    with ending(run.tags, lambda status: client.set_terminated(run.run_id, status=status)):
        yield run


@contextmanager
def ending(tags: Callable[[Mapping[str, str]], None], end: Callable[[str], None]) -> Iterator[None]:
    """Ends a run as its block ends: FINISHED, KILLED by hand, or FAILED with the error as a tag.

    Args:
        tags: writes tags.
        end: takes the status.
    """
    try:
        yield
    except BaseException as error:
        by_hand = isinstance(error, KeyboardInterrupt | SystemExit)
        with suppress(MerError):  # where MLflow is away too, what went wrong first is what matters
            if not by_hand:
                tags({ERROR_TAG: str(error)[:MAX_ERROR_CHARACTERS]})
            end("KILLED" if by_hand else "FAILED")
        raise
    end(FINISHED)


def newest(client: Client, experiment: str, tag: str, value: str, *, finished: bool = False) -> str | None:
    """The id of the newest run with this tag, or of the newest one that has finished."""
    runs = client.search_runs(
        [experiment],
        filter_string=f"tags.`{tag}` = '{value}'" + (" and attributes.status = 'FINISHED'" if finished else ""),
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return str(runs[0].info.run_id) if runs else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
