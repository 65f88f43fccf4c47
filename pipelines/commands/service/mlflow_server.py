"""Runs an MLflow server on loopback, as a child process that never outlives its parent."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import UnavailableError
from components.runtime.local_http import answer_of
from pipelines.background import Background, last_lines

HOST = "127.0.0.1"
START_S = 90.0
POLL_S = 0.2
REQUEST_TIMEOUT_S = 2.0


@contextmanager
def mlflow_server(
    *, store_uri: str, artifacts: Path, port: int, log: Path, variables: Mapping[str, str] | None = None
) -> Iterator[MlflowServer]:
    """Starts `mlflow server` and yields it at once; `wait_ready` waits until it answers.

    Args:
        store_uri: the database, `sqlite:////…/mlflow.db`.
        artifacts: the folder for artifacts of new experiments.
        port: from `free_port`.
        log: the file for its output.
        variables: of its environment, besides those of `server_environment`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", store_uri, "--artifacts-destination", artifacts.resolve().as_uri(),
    ]  # fmt: skip
    server = MlflowServer(command, address=f"http://{HOST}:{port}", log=log, variables=variables or {})
    server.start()
    try:
        yield server
    finally:
        server.end()


class MlflowServer(Background):
    """The server's processes.

    Args:
        command: that starts it.
        address: where it answers.
        log: the file for its output, begun anew with each start.
        variables: as for `mlflow_server`.
    """

    def __init__(self, command: Sequence[str], *, address: str, log: Path, variables: Mapping[str, str]) -> None:
        super().__init__(command, log=log, environment={**server_environment(), **variables})
        self.address = address


def server_environment() -> dict[str, str]:
    """The variables of an MLflow server, which starts none of what is not used here."""
    from components.serving.metrics import FOLDER_VARIABLE

    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Its job queue is for features that are not used here, and would take 1.4 GB in eight processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    environment.pop(FOLDER_VARIABLE, None)  # the folder for what the service counts, and MLflow counts, too
    return environment


def wait_ready(address: str, log: Path) -> None:
    """Waits until the server answers. Raises UnavailableError with the last lines of its log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if answer_of(f"{address}/health", timeout_s=REQUEST_TIMEOUT_S) is not None:
            return
        time.sleep(POLL_S)
    raise UnavailableError(
        "the MLflow server did not start", where=address, seen=last_lines(log), remedy=f"Its log is {log}."
    )


def free_port(port: int, what: str, *, strict: bool) -> int:
    """A free port on loopback: `port` if it is free; with 0 any.

    Args:
        port: the configured port.
        what: the name of the service, for the message.
        strict: whether it must be this port.

    Raises:
        UnavailableError: the port is taken, and `strict`.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
        except OSError as error:
            if strict:
                raise UnavailableError(
                    f"the port of the {what} is taken",
                    where=f"{HOST}:{port}",
                    seen=error.strerror,
                    remedy="Stop what listens there (another `mer serve`?), or choose another port.",
                    code=Code.PORT_BUSY,
                ) from error
    return free_port(0, what, strict=True)
