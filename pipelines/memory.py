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
    does not report it. `peak_bytes` is the largest sample; a peak between two samples is missed. Since the kernel adds
    up the pages of a process for it, which takes hundreds of times as long as the resident size, a sample is taken
    where the resident sizes add up to more than ever before.
    """

    def __init__(self, every_s: float = 2.0) -> None:
        self.peak_bytes = 0
        self._resident = 0
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
            self._sample()
            if self._stop.wait(self._every_s):
                return

    def _sample(self) -> None:
        processes = _tree(os.getpid())
        resident = sum(_resident(process) for process in processes)
        if resident > self._resident:
            self._resident = resident
            self.peak_bytes = max(self.peak_bytes, sum(_bytes(process) for process in processes))


def tree_bytes(pid: int) -> int:
    """Memory of a process and all its descendants, in bytes; a process that ends meanwhile counts as nothing."""
    return sum(_bytes(process) for process in _tree(pid))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.Error, OSError):
        return 0


def _bytes(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
    except (psutil.Error, OSError):
        return 0
    return int(getattr(info, "pss", None) or info.rss)
