"""A bundle as a version of a registered model: the one file of this component that writes to MLflow.

The model directory is a normal MLflow model: `MLmodel` with a signature, an input example and pinned requirements,
whose loader is a module of the *installed* package. It holds no code and no pickle.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.registry.fetch import BUNDLE_PATH, BUNDLE_TAG
from components.registry.requirements import pinned_requirements

# A layer above this one: MLflow imports it by name when somebody loads the model.
LOADER_MODULE = "components.serving.flavor"
CHALLENGER, CHAMPION = "challenger", "champion"
CARD_NAME = "MODEL_CARD.md"
# MLflow's column for a version's description.
MAX_DESCRIPTION = 5000
PATH_EXAMPLE, TRANSCRIPT_EXAMPLE = "clip.mp4", "what was said, if it is known"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What became of a registration: `reused` when this very bundle was registered before."""

    version: str
    aliases: tuple[str, ...]
    reused: bool


def register(
    bundle: Path,
    *,
    name: str,
    bundle_sha256: str,
    tags: Mapping[str, str],
    gates_passed: bool,
    card: str,
    run_id: str,
    tracking_uri: str,
) -> Registered:
    """Registers a bundle; doing it again finds the version of the first time.

    The alias `challenger` moves to the version. `champion` is set only when nobody has it and the gates passed: from
    then on only a person moves it.

    Args:
        bundle: the folder that `write_bundle` wrote.
        tags: of the version, beside the bundle's hash.
        card: the model card, Markdown.
        run_id: the run that trained the model.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    with default_store(tracking_uri):
        _ensure_model(client, name)
        version = _version_of(client, name, bundle_sha256)
        reused = version is not None
        if version is None:
            model_id = _log_model(client, bundle, name=name, run_id=run_id, card=card, bundle_sha256=bundle_sha256)
            made = client.create_model_version(
                name,
                source=f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags={**tags, BUNDLE_TAG: bundle_sha256},
                description=_description(card),
            )
            version = str(made.version)
        client.set_registered_model_alias(name, CHALLENGER, version)
        aliases = client.get_registered_model(name).aliases
        if CHAMPION not in aliases and gates_passed:
            client.set_registered_model_alias(name, CHAMPION, version)
        aliases = client.get_registered_model(name).aliases
    mine = sorted(alias for alias, number in aliases.items() if str(number) == version)
    return Registered(version=version, aliases=tuple(mine), reused=reused)


def registered_version(name: str, bundle_sha256: str, *, tracking_uri: str) -> str | None:
    """The newest version that holds this bundle, or None when the registry has none."""
    from mlflow import MlflowClient

    return _version_of(MlflowClient(tracking_uri), name, bundle_sha256)


@contextmanager
def default_store(tracking_uri: str) -> Iterator[None]:
    """Makes a store MLflow's default for a while: a `models:/` source is looked up there, whatever the client says."""
    import mlflow

    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(previous)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ensure_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name,
            description=(
                "What a person in a clip feels, over time, from face, voice, words and physiological signals. "
                "Move the alias `champion` to promote a version; the service follows. Each version's description is "
                "its model card."
            ),
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_of(client: Any, name: str, bundle_sha256: str) -> str | None:
    """The newest version that holds this bundle and is ready."""
    token: str | None = None
    found: list[int] = []
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token)
        found += [
            int(version.version)
            for version in page
            if version.tags.get(BUNDLE_TAG) == bundle_sha256 and str(version.status) == "READY"
        ]
        token = page.token
        if not token:
            return str(max(found)) if found else None


def _log_model(client: Any, bundle: Path, *, name: str, run_id: str, card: str, bundle_sha256: str) -> str:
    """Uploads the model directory and returns the logged model's id."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_mlflow_model(bundle, folder)
        (folder / CARD_NAME).write_text(card, encoding="utf-8")
        experiment = client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(
            experiment, name=name, source_run_id=run_id, model_type="mer", tags={BUNDLE_TAG: bundle_sha256}
        )
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_artifact(run_id, str(folder / CARD_NAME))
    return str(logged.model_id)


def save_mlflow_model(bundle: Path, folder: Path) -> None:
    """Writes the MLflow model directory of a bundle."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("string", "path"), ColSpec("string", "transcript", required=False)])
    outputs = Schema(
        [
            ColSpec("string", "emotion"),
            ColSpec("double", "confidence"),
            ColSpec("double", "contradiction"),
            ColSpec("string", "answer_json"),
        ]
    )
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / Path(BUNDLE_PATH).name
        shutil.copytree(bundle, data)
        with _quiet("mlflow.pyfunc"):
            mlflow.pyfunc.save_model(
                path=str(folder),
                loader_module=LOADER_MODULE,
                data_path=str(data),
                pip_requirements=pinned_requirements(),
                signature=ModelSignature(inputs=inputs, outputs=outputs),
                input_example=pd.DataFrame({"path": [PATH_EXAMPLE], "transcript": [TRANSCRIPT_EXAMPLE]}),
            )


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Warnings only: MLflow tells the terminal of every step."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _description(card: str) -> str:
    if len(card) <= MAX_DESCRIPTION:
        return card
    end = f"\n\n… the whole card is `{CARD_NAME}` among the artifacts."
    return card[: MAX_DESCRIPTION - len(end)].rsplit("\n", 1)[0] + end
