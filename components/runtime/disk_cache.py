"""Files of at most so many bytes that the processes of a machine fetched, for those that need them again.

Whatever was not used for longest goes when there is no room. A file that somebody is reading stays readable to its end,
also when it goes meanwhile, and one that is being written is not seen before it is complete.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from components.contracts.room import is_full
from components.runtime.alone import alone_in

TOTAL = "bytes"
FOLDERS = 256
PAGE_BYTES = 4096
# How full it is after the oldest files went: each time they are all looked at.
KEPT_SHARE = 0.9


class DiskCache:
    """A folder of files by number, all of which may go at any time.

    Args:
        folder: for this alone; its file system must have room for `limit_bytes`, or it caches less.
        limit_bytes: the most that the files of all processes take, in whole pages of 4 KiB.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            self._set_total(self._trim(limit_bytes))  # counted anew: a process may have been killed

    def get(self, number: int, size: int, fetch: Callable[[], bytes]) -> bytes:
        """The bytes of a file, which `fetch` gives where it is not here with that size. Threads may share this."""
        path = self._path(number)
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            if len(data) == size:
                os.utime(path)
                return data
        data = fetch()
        if _pages(len(data)) <= self._limit * KEPT_SHARE:
            self._keep(path, data)
        return data

    def drop(self, number: int) -> None:
        """Removes a file, if it is here: what is in it is not what was fetched."""
        path = self._path(number)
        with alone_in(self._folder), suppress(FileNotFoundError):
            room = _pages(path.stat().st_size)
            path.unlink()
            self._set_total(self._total() - room)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number // PAGE_BYTES % FOLDERS:02x}" / str(number)

    def _keep(self, path: Path, data: bytes) -> None:
        room = _pages(len(data))
        with alone_in(self._folder):
            if path.exists() and path.stat().st_size == len(data):
                return  # a different process was faster
            total = self._total()
            if total + room > self._limit:
                total = self._trim(int(self._limit * KEPT_SHARE) - room)
            path.parent.mkdir(exist_ok=True)
            beside = path.with_name(f".{uuid.uuid4().hex}.tmp")
            try:
                beside.write_bytes(data)
                beside.replace(path)
            except OSError as error:
                if not is_full(error):
                    raise
                room = 0  # it is only a cache
            finally:
                beside.unlink(missing_ok=True)
            self._set_total(total + room)

    def _trim(self, most: int) -> int:
        """Removes the files that were not used for longest until the others take at most so many bytes, which it
        returns."""
        files = []
        for path in self._folder.glob("*/*"):
            status = path.stat()
            # What a killed process was writing is the first to go.
            files.append((0 if path.suffix else status.st_mtime_ns, _pages(status.st_size), path))
        total = sum(size for _, size, _ in files)
        for used_ns, size, path in sorted(files):
            if total <= most and used_ns:
                break
            path.unlink()
            total -= size
        return total

    def _total(self) -> int:
        return int((self._folder / TOTAL).read_text())

    def _set_total(self, total: int) -> None:
        (self._folder / TOTAL).write_text(str(total))


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
