"""Ends and removes what a service leaves, however that ends: in good order, interrupted in the middle of a start,
killed outright, or ended by Ray, which ends its driver together with its raylet.

A process of its own, since nothing else outlives all of these. It knows the processes of the service by their folder of
temporary files, which is the service's own and stands in their environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from components.runtime.own_folder import OwnFolder

TEMPORARY, SCRATCH = "TMPDIR", "mer-serve-"
ENDING = (signal.SIGINT, signal.SIGTERM)
LOOK_S, QUIET_LOOKS, GONE_S = 0.1, 5, 15.0


@contextmanager
def nothing_left() -> Iterator[None]:
    """Temporary files of this process, and of those that it starts in the block, are in one folder; when the block has
    ended, there is neither that folder nor any of these processes, and no signal interrupts that."""
    before, folder = os.environ.get(TEMPORARY), OwnFolder(SCRATCH)
    command = [sys.executable, "-m", __name__, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as janitor:
        try:
            _temporary_files_in(str(folder.path))
            yield
        finally:
            handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
            _temporary_files_in(before)
            janitor.communicate()
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


def main(folder: Path) -> None:
    """Waits until the service has ended or says that it does; then ends what is left of it."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    service, deadline, quiet = os.getppid(), time.monotonic() + GONE_S, 0
    while quiet < QUIET_LOOKS and time.monotonic() < deadline:
        left = _left(str(folder), service)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        # A process that was just being started may show itself, or write, only now.
        quiet = 0 if left or folder.exists() else quiet + 1
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(LOOK_S)


def _left(folder: str, service: int) -> list[psutil.Process]:
    """The processes that name that folder, and theirs: Ray's workers overwrite their environment with their title."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if process.environ().get(TEMPORARY) == folder or ("/ray/" in command and folder in command):
                found |= {own.pid: own for own in (process, *process.children(recursive=True))}
    dead = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return [own for own in found.values() if own.pid not in (service, os.getpid()) and _status(own) not in dead]


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_DEAD)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
