"""The evaluation in the MLflow run of its training: the one file of this component that knows MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.config import Tracking
from components.contracts.errors import ModelError
from components.training.tracking import MODEL_TAG, client_of, experiment_id, find_run

ARTIFACTS = "evaluation"
PREFIX = "test"
# Figures of a run are for comparing runs at a glance; the whole tree is in metrics.json beside the report.
LOGGED = ("clip", "step", "subsets", "baselines", "calibration", "contradiction", "affect", "episodes", "slices")


def run_of(tracking: Tracking, root: Path, model_sha256: str) -> str:
    """The run that trained a model; a new one that says so when this store does not know the model.

    A training whose outputs came from a DVC cache, or a store that was deleted, has no run; what follows it must still
    have a place to be seen.
    """
    try:
        return find_run(tracking, root, model_sha256)
    except ModelError:
        client = client_of(tracking, root)
        tags = {MODEL_TAG: model_sha256, "mer.restored": "trained elsewhere; this store has no run of the training"}
        run = client.create_run(
            experiment_id(client, tracking, root), tags=tags, run_name=f"restored {model_sha256[:8]}"
        )
        client.set_terminated(run.info.run_id, status="FINISHED")
        return str(run.info.run_id)


def publish(folder: Path, figures: Mapping[str, Any], *, tracking: Tracking, root: Path, model_sha256: str) -> str:
    """Logs figures, plots and the report of `folder`; returns the run's id. Doing it again replaces them."""
    from mlflow.entities import Metric

    client = client_of(tracking, root)
    run_id = run_of(tracking, root, model_sha256)
    now = int(time.time() * 1000)
    flat = flatten({name: figures[name] for name in LOGGED if name in figures})
    values = [Metric(f"{PREFIX}/{name}", value, now, 0) for name, value in sorted(flat.items())]
    for first in range(0, len(values), 500):
        client.log_batch(run_id, metrics=values[first : first + 500])
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {".html", ".png", ".json", ".csv"}:
            inside = path.relative_to(folder).parent.as_posix()
            client.log_artifact(run_id, str(path), ARTIFACTS if inside == "." else f"{ARTIFACTS}/{inside}")
    return run_id


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested figures as one, names joined by `/`; the value of an interval stands under its own name."""
    flat: dict[str, float] = {}
    for name, value in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        # MLflow allows letters, digits, and _ - . / : and space in names.
        path = "".join(letter if letter.isalnum() or letter in "_-./: " else "_" for letter in path)
        if isinstance(value, Mapping):
            if value.keys() == {"value", "low", "high"}:
                if value["value"] is not None:
                    flat[path] = float(value["value"])
            else:
                flat.update(flatten(value, path))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[path] = float(value)
    return flat
