"""Where MLflow is. Looking that up imports nothing and makes no store."""

from __future__ import annotations

import os
from pathlib import Path

from components.contracts.config import Tracking

VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
IN_MEMORY = ":memory:"


def tracking_uri(tracking: Tracking, root: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else the configured one, a relative sqlite path being below `root`."""
    uri = os.environ.get(VARIABLE) or tracking.uri
    file = database(uri)
    if file is None or file.is_absolute():
        return uri
    file = root.resolve() / file
    file.parent.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{file}"


def database(uri: str) -> Path | None:
    """The file of a store that is a local database; None for a server, and for a database in memory."""
    path = uri.removeprefix(SQLITE)
    return Path(path) if uri.startswith(SQLITE) and path not in ("", IN_MEMORY) else None


def exists(uri: str) -> bool:
    """Whether there is a store: a request to a missing local one would create it, empty."""
    file = database(uri)
    return file is None or file.is_file()


def is_server(uri: str) -> bool:
    """Whether a server answers there, and not this process itself out of a file."""
    return uri.startswith(("http://", "https://"))
