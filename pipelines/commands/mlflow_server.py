"""Runs an MLflow server on loopback, as a child process that never outlives its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import UnavailableError
from components.runtime.local_http import answer_of

HOST = "127.0.0.1"
START_S = 90.0
STOP_S = 10.0
POLL_S = 0.2
REQUEST_TIMEOUT_S = 2.0
LOG_LINES = 15
PR_SET_PDEATHSIG = 1


@contextmanager
def mlflow_server(*, store_uri: str, artifacts: Path, port: int, log: Path) -> Iterator[MlflowServer]:
    """Starts `mlflow server` and yields it at once; `wait_ready` waits until it answers.

    Args:
        store_uri: the database, `sqlite:////…/mlflow.db`.
        artifacts: the folder for artifacts of new experiments.
        port: from `free_port`.
        log: the file for its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", store_uri, "--artifacts-destination", artifacts.resolve().as_uri(),
    ]  # fmt: skip
    server = MlflowServer(command, address=f"http://{HOST}:{port}", log=log)
    server.start()
    try:
        yield server
    finally:
        server.end()


class MlflowServer:
    """The server's processes.

    Args:
        command: that starts it.
        address: where it answers.
        log: the file for its output, begun anew with each start.
    """

    def __init__(self, command: Sequence[str], *, address: str, log: Path) -> None:
        self.address = address
        self.log = log
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, in place of one that has ended. In the main thread: the kernel ends it with the thread that
        started it."""
        self.end()  # workers may have outlived it, and hold its port
        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            # Its job queue is for features that are not used here, and would take 1.4 GB in eight processes.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        with self.log.open("wb") as output:
            # A session of its own: Ctrl-C reaches only this program, which then stops the server and its workers.
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                # The function makes one system call.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def end(self) -> None:
        """Ends it and its workers."""
        if self._process is not None:
            _end(self._process)


def wait_ready(address: str, log: Path) -> None:
    """Waits until the server answers. Raises UnavailableError with the last lines of its log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if answer_of(f"{address}/health", timeout_s=REQUEST_TIMEOUT_S) is not None:
            return
        time.sleep(POLL_S)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
    raise UnavailableError("the MLflow server did not start", where=address, seen=tail, remedy=f"Its log is {log}.")


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


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
        # The server has ended; workers of its group may take a moment.
        deadline = time.monotonic() + STOP_S
        while _alive(process.pid) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _die_with_parent() -> None:
    """Runs in the child: the kernel ends it when this program is killed outright."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
