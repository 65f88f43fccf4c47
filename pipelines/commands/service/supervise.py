"""Watches what `mer serve` runs: says what ended, starts it again, or ends with everything stopped.

MLflow's server        started again here
Serve's processes      started again by Ray Serve; named here
Ray's own processes    nothing works without them: everything is stopped and started again
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from components.contracts.errors import UnavailableError
from components.rollout.parts import ended
from pipelines.commands.service.mlflow_server import MlflowServer

LOOK_S = 1.0
# So many starts of everything within so long are no accident.
RESTARTS, WITHIN_S = 3, 600.0
RESTARTED = "MER_SERVE_RESTARTED"
VITAL = frozenset({"raylet", "gcs_server"})


class RayEndedError(Exception):
    """A process ended that Ray cannot be without."""


@dataclass(kw_only=True)
class Watch:
    """What `mer serve` looks after.

    Attributes:
        report: says a line to the user.
        mlflow: the server that was started here, if one was.
        ray: name → exit status of Ray's own processes that have ended.
        ray_ended: whether one did that Ray cannot be without.
    """

    report: Callable[[str], None]
    mlflow: MlflowServer | None = None
    ray: Callable[[], Mapping[str, int]] = dict
    ray_ended: bool = False
    _said: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Looks once. Raises RayEndedError."""
        self._look_at_mlflow()
        self._look_at_ray()

    def _look_at_mlflow(self) -> None:
        if self.mlflow is None or (status := self.mlflow.status()) is None:
            return
        self.report(f"the MLflow server ended ({how(status)}); starting it again. Its log is {self.mlflow.log}.")
        self.mlflow.start()

    def _look_at_ray(self) -> None:
        for name, status in self.ray().items():
            if name in VITAL:
                self.ray_ended = True
                raise RayEndedError(f"{name} of Ray ended ({how(status)})")
            if name not in self._said:
                self._said.add(name)
                self.report(f"{name} of Ray ended ({how(status)}); the service does not need it")


def watch_serve(parts: Callable[[], Mapping[str, str]], report: Callable[[str], None], stop: threading.Event) -> None:
    """Names what Ray Serve starts again, until `stop`. In a thread of its own: without its controller, Serve lets
    callers wait.

    Args:
        parts: process → name of what Serve runs; empty while it cannot be reached.
        report: says a line to the user.
    """
    known: Mapping[str, str] = {}
    while not stop.wait(LOOK_S):
        now = parts()
        for name in ended(known, now):
            report(f"{name} ended; Ray Serve starts it again")
        known = now or known


def ended_of_ray() -> dict[str, int]:
    """Name → exit status of the processes of the Ray that this process started which have ended."""
    import ray

    node = ray._private.worker._global_node
    if node is None:
        return {}
    return {kind: process.returncode for kind, process in node.dead_processes()}


def start_everything_again(reason: str) -> None:
    """Replaces this process by the same command. Raises UnavailableError where that was done too often."""
    now = time.time()
    times = [t for t in map(float, os.environ.get(RESTARTED, "").split()) if now - t < WITHIN_S]
    if len(times) >= RESTARTS:
        raise UnavailableError(
            "Ray ends again and again",
            where="this machine",
            seen=f"{reason}, {len(times) + 1} times within {WITHIN_S / 60:g} min",
            remedy="Too little memory is the usual reason.",
        )
    os.environ[RESTARTED] = " ".join(map(str, [*times, now]))
    sys.stderr.flush()
    end_children()  # a new program keeps those of the old one
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def end_children() -> None:
    """Kills the children of this process, and theirs."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def how(status: int) -> str:
    """An exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
