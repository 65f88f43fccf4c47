"""The one client of MLflow. Importing this imports no MLflow; making a client does."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.contracts.config import Tracking
from components.tracking import artifacts
from components.tracking.address import VARIABLE, database, of_project, tracking_uri
from components.tracking.errors import translated
from components.tracking.last_answer import read_last_answer

IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class Client:
    """An `mlflow.MlflowClient` of one store: the same methods, whose errors are the project's (see `translated`).

    Sets nothing global, so clients of several stores may be used in one process.
    """

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        file = database(uri)
        with translated(uri):
            artifacts.register()
            read_last_answer()
            self._client = MlflowClient(tracking_uri=uri)  # makes the tables of a new store
            if file is not None and of_project(file):
                artifacts.unpin(file)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with translated(self.uri):
                return method(*args, **kwargs)

        return call


def client_of(tracking: Tracking, root: Path) -> Client:
    """A client of the configured store."""
    return Client(tracking_uri(tracking, root))


@contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Makes a store MLflow's default for a while: a `models:/` source is looked up there, not in a client's store."""
    import mlflow

    before = {name: os.environ.get(name) for name in (VARIABLE, "MLFLOW_REGISTRY_URI")}
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(previous)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def import_library() -> None:
    """Imports MLflow with its store on a database, for a process that forks others which use them."""
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def check_reachable(tracking: Tracking, root: Path) -> None:
    """Asks the configured server whether it is there, before any work is done for it. A local file is not asked: making
    a store takes seconds, and nothing but its folder's disk can be away.

    Raises:
        UnavailableError: no MLflow answers there, told within seconds.
        ConfigError: the address is not one.
    """
    uri = tracking_uri(tracking, root)
    if database(uri) is None:
        with impatience():
            Client(uri).search_experiments(max_results=1)


def without_progress_bars() -> None:
    """For this process and its children, before they import MLflow: standard output and logs are for other things."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def impatient() -> None:
    """For this process and its children, before they import MLflow: an answer within seconds when it is away (its own
    patience is four minutes), for callers that try again anyway, or for whom a person waits."""
    for name, value in IMPATIENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def impatience() -> Iterator[None]:
    """`impatient` for a while: a long training goes on asking a server that is away for a moment."""
    added = [name for name in IMPATIENT if name not in os.environ]
    impatient()
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
