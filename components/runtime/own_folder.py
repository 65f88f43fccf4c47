"""A folder for the temporary files of one process, which the next process removes if this one is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

LOCK = ".lock"


class OwnFolder:
    """Makes the folder, below that of temporary files, and removes those of processes that have ended.

    A lock tells them apart, which the kernel frees with its process, however that ends. It holds between containers
    that share a disk, where process numbers mean nothing.

    Args:
        prefix: of the names of such folders.
        parent: the folder above it, if not that of temporary files.
    """

    def __init__(self, prefix: str, *, parent: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        for folder in parent.glob(f"{prefix}*"):
            _remove_if_left(folder)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._lock = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._end = weakref.finalize(self, _remove, self.path, self._lock)

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        self._end()

    def keep(self, path: Path) -> None:
        """Gives the folder a name at which it stays. Raises OSError where a folder with files has it."""
        os.rename(self.path, path)
        (path / LOCK).unlink()
        self._end.detach()
        os.close(self._lock)
        self.path = path


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # of a different user, just removed, locked, or not locked yet
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
