"""Where MLflow is, and the artifacts of a store that is a file. Looking that up imports nothing and makes no store."""

from __future__ import annotations

import os
from pathlib import Path

from components.contracts.config import Tracking

VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
IN_MEMORY = ":memory:"
# By the file of a project's own store, as its configuration says; MLflow hands the artifacts' reader only the store.
_artifacts: dict[Path, Path] = {}


def tracking_uri(tracking: Tracking, root: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else the configured one, a relative sqlite path being below `root`."""
    uri = os.environ.get(VARIABLE) or tracking.uri
    file = database(uri)
    if file is None:
        return uri
    root = root.resolve()
    if not file.is_absolute():
        file = root / file
        file.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{SQLITE}{file}"
    if file.resolve().is_relative_to(root):
        _artifacts[file.resolve()] = root / tracking.artifacts
    return uri


def database(uri: str) -> Path | None:
    """The file of a store that is a local database; None for a server, and for a database in memory."""
    path = uri.removeprefix(SQLITE)
    return Path(path) if uri.startswith(SQLITE) and path not in ("", IN_MEMORY) else None


def of_project(file: Path) -> bool:
    """Whether a store lies in a project that was looked up here, and so moves with it."""
    return file.resolve() in _artifacts


def artifacts_of(file: Path) -> Path:
    """The folder of artifacts of a project's store; of a store that nobody looked up here, the usual one beside it."""
    file = file.resolve()
    return _artifacts.get(file, file.parent / Path(Tracking().artifacts).name)


def exists(uri: str) -> bool:
    """Whether there is a store: a request to a missing local one would create it, empty."""
    file = database(uri)
    return file is None or file.is_file()


def is_server(uri: str) -> bool:
    """Whether a server answers there, and not this process itself out of a file."""
    return uri.startswith(("http://", "https://"))


def is_folder(uri: str) -> bool:
    """Whether MLflow takes this for a folder, a kind of store that it no longer has: also a host without `http://`."""
    return "://" not in uri or uri.startswith("file:")
