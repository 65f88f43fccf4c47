"""Artifacts of a store that is a file of the project: the store names them by their place in the folder of artifacts,
not by the folder's place on the machine, so a project that moved takes them along.

The names are those that an MLflow server gives to artifacts behind it (`mlflow-artifacts:/<run>/artifacts`). A server
that is given the store and the folder finds them by itself, clients of a server ask that, and clients of the file find
them through `repository`, the entry point of this package for MLflow's table of artifact repositories.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from components.tracking.address import artifacts_of, database

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SCHEME = "mlflow-artifacts"
LOCATION = f"{SCHEME}:/"
DEFAULT_EXPERIMENT = 0  # of every store, made with it
# Where MLflow's tables hold the location of an artifact.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The artifacts at `mlflow-artifacts:/…`: in the folder of a store that is a file, else behind its server."""
    from mlflow import get_tracking_uri
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.utils.uri import validate_path_is_safe

    file = database(tracking_uri or get_tracking_uri())
    if file is None:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri, registry_uri)
    inside = validate_path_is_safe(unquote(urlsplit(artifact_uri).path).lstrip("/") or ".")
    return LocalArtifactRepository((artifacts_of(file) / inside).as_uri(), tracking_uri, registry_uri)


def register() -> None:
    """Makes `repository` known to MLflow in this process, also where the package is not installed."""
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    get_registered_artifact_repositories()[SCHEME] = repository


def unpin(file: Path) -> None:
    """Replaces the absolute locations in a store by names inside its folder of artifacts.

    Versions of before wrote the folder's location into every row, and MLflow writes the current folder into the row of
    the experiment that it makes by itself. A store that holds none of either is only read.
    """
    folder = artifacts_of(file)
    with closing(sqlite3.connect(file)) as store, store:
        rows = store.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        for experiment, location in rows:
            path = Path(unquote(urlsplit(location).path))
            if urlsplit(location).scheme not in ("", "file"):
                continue
            if path == folder or path.parts[-2:] == folder.parts[-2:]:
                _rename(store, location)
            elif (
                experiment == DEFAULT_EXPERIMENT
                and not store.execute("SELECT 1 FROM runs WHERE experiment_id = ?", (experiment,)).fetchone()
            ):
                _rename(store, location, to=f"{LOCATION}{experiment}")


def _rename(store: sqlite3.Connection, location: str, to: str = LOCATION) -> None:
    for table, column in LOCATIONS:
        store.execute(
            f"UPDATE {table} SET {column} = :new || ltrim(substr({column}, length(:old) + 1), '/') "
            f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
            {"new": to, "old": location},
        )
