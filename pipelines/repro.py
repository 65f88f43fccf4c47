"""`dvc repro` and stages as child processes: their output is passed through, and an interrupt reaches what runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LEASE_VARIABLE = "MER_LEASE"
BUSY = os.EX_TEMPFAIL  # the exit code where a different process works on a target

# How long DVC and the stage may take to end after an interrupt before they are killed.
GRACE_S = 30.0


def reproduce(
    root: Path, targets: Sequence[str] = (), *, force: bool = False, alone: bool = False, shared: bool = False
) -> int:
    """Runs `dvc repro` and returns its exit code; on an interrupt DVC releases its locks first (`call`).

    Args:
        root: the project.
        targets: stages; all when empty.
        force: also run unchanged stages.
        alone: only the targets, nothing before them.
        shared: others work in the project, on this machine or not: wait for another DVC process that holds its lock,
            instead of failing, and hold a lease. The code is then `BUSY` while others work on a target.
    """
    flags = [flag for flag, on in (("--force", force), ("--single-item", alone)) if on]
    lock = ["--wait-for-lock"] if shared else []
    variables = environment() | ({LEASE_VARIABLE: "1"} if shared else {})
    command = [sys.executable, "-m", "pipelines.dvc_quietly", *lock, "repro", *flags, *targets]
    return call(command, folder=root, variables=variables)


def call(command: Sequence[str], *, folder: Path, variables: Mapping[str, str]) -> int:
    """Runs a command in a folder and returns its exit code.

    The child has its own process group. On Ctrl-C or SIGTERM the group is interrupted: a stage stops between two atomic
    writes, and only when the child has ended is KeyboardInterrupt raised here.
    """
    with (
        terminated_like_interrupted(),
        subprocess.Popen(command, cwd=folder, env=variables, start_new_session=True) as child,
    ):
        try:
            return child.wait()
        except BaseException:
            _end(child)
            raise


def environment() -> dict[str, str]:
    """The environment of a stage's process: `mer` on the path, unbuffered output, no analytics."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Treats SIGTERM as an interrupt; without this the process would die and leave the stage running."""
    if threading.current_thread() is not threading.main_thread():  # handlers can be set only there
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(child: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, how)
            child.wait(timeout=GRACE_S)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
