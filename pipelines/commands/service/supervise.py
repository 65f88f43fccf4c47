"""Watches what `mer serve` runs: says what ended, starts it again, or ends with everything stopped.

MLflow's server        started again here
Serve's processes      started again by Ray Serve; named here
Ray's own processes    nothing works without them: everything is stopped and started again
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from components.contracts.errors import UnavailableError
from components.rollout.parts import ended
from components.runtime.own_folder import OwnFolder
from pipelines.commands.service.mlflow_server import MlflowServer

LOOK_S = 1.0
# So many starts of everything within so long are no accident.
RESTARTS, WITHIN_S = 3, 600.0
RESTARTED = "MER_SERVE_RESTARTED"
# How long a killed process may take to be gone.
GONE_S = 10.0
ENDING = (signal.SIGINT, signal.SIGTERM)
PR_SET_CHILD_SUBREAPER = 36
TEMPORARY, SCRATCH = "TMPDIR", "mer-serve-"
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
    _dead: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Looks once. Raises RayEndedError."""
        self._look_at_mlflow()
        self._look_at_ray()
        self._dead = bury(self._dead)

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


def end_children(*, but: Collection[psutil.Process] = ()) -> None:
    """Kills the children of this process and theirs, but for some, and waits until they are gone."""
    ended = [child for child in psutil.Process().children(recursive=True) if child not in but]
    for child in ended:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(ended, timeout=GONE_S)


def bury(before: Collection[int]) -> set[int]:
    """Takes the exit status of dead orphans (`nothing_left`), which nobody else does; those that died since the look
    before are left to whoever may have started them, and returned by their ids for the next look."""
    dead = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.status() != psutil.STATUS_ZOMBIE:
                continue
            if child.pid in before:
                os.waitpid(child.pid, os.WNOHANG)
            else:
                dead.add(child.pid)
    return dead


@contextmanager
def nothing_left() -> Iterator[None]:
    """Whatever ends the block, and whenever: no process that was started in it is left, nor a temporary file of one,
    and no signal interrupts that.

    An interrupt may come between the start of a process and the note of it, and in what ends it in good order. So this
    process becomes the parent of whatever loses its own (`PR_SET_CHILD_SUBREAPER`), and kills what there still is.
    """
    before = psutil.Process().children(recursive=True)
    variable, folder = os.environ.get(TEMPORARY), OwnFolder(SCRATCH)
    _adopt_orphans(adopt=True)
    try:
        _temporary_files_in(str(folder.path))
        yield
    finally:
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
        end_children(but=before)
        _adopt_orphans(adopt=False)
        _temporary_files_in(variable)
        folder.remove()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _temporary_files_in(folder: str | None) -> None:
    """Of this process and the children that it starts from now on; None: where they are by default."""
    if folder is None:
        os.environ.pop(TEMPORARY, None)
    else:
        os.environ[TEMPORARY] = folder
    tempfile.tempdir = None  # so that Python looks again


def _adopt_orphans(*, adopt: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt))


def how(status: int) -> str:
    """An exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
