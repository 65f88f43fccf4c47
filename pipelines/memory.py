"""The peak memory of a run over all its processes."""

from __future__ import annotations

import os
import threading
from types import TracebackType

import psutil

BYTES_PER_GIB = 1 << 30


class PeakMemory:
    """Samples the memory of this process and its descendants while the block runs.

    A sample is the sum over processes of the proportional set size (shared pages are divided among their users, so
    Ray's object store and forked libraries are not counted several times), or of the resident set size where the system
    does not report it. `peak_bytes` is the largest sample; a peak between two samples is missed.
    """

    def __init__(self, every_s: float = 2.0) -> None:
        self.peak_bytes = 0
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        """Starts sampling."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes a last sample and stops."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, tree_bytes(os.getpid()))
            if self._stop.wait(self._every_s):
                return


def tree_bytes(pid: int) -> int:
    """Memory of a process and all its descendants, in bytes; a process that ends meanwhile counts as nothing."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_bytes(process) for process in processes)


def _bytes(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
    except (psutil.Error, OSError):
        return 0
    return int(getattr(info, "pss", None) or info.rss)
