"""`dvc repro` as a child process: its output streams through, an interrupt reaches the stage that works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# How long DVC and the stage may take to end after an interrupt before they are ended.
GRACE_S = 30.0


def reproduce(
    root: Path, targets: Sequence[str] = (), *, force: bool = False, alone: bool = False, wait: bool = False
) -> int:
    """Runs `dvc repro` and returns its exit code.

    The child has its own process group. On Ctrl-C (or when this process is told to end) the group is interrupted: the
    stage stops between two atomic writes, DVC releases its locks, and only then is KeyboardInterrupt raised here.

    Args:
        root: the project.
        targets: stages; all when empty.
        force: run stages that did not change too.
        alone: only the targets, nothing before them.
        wait: wait for another DVC that holds the lock, instead of failing.
    """
    flags = [flag for flag, on in (("--force", force), ("--single-item", alone)) if on]
    lock = ["--wait-for-lock"] if wait else []
    command = [sys.executable, "-m", "pipelines.dvc_quietly", *lock, "repro", *flags, *targets]
    with (
        terminated_like_interrupted(),
        subprocess.Popen(command, cwd=root, env=environment(), start_new_session=True) as child,
    ):
        try:
            return child.wait()
        except BaseException:
            _end(child)
            raise


def environment() -> dict[str, str]:
    """What a stage's process needs: `mer` on the path, output that is not held back, no call home."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Being told to end is an interrupt too; without this the process would die and leave the stage working."""
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
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
