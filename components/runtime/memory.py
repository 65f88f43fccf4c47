"""Gives memory that was freed back to the system, which glibc's allocator keeps for later."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

GROWN_BYTES = 16 << 20
STATM = Path("/proc/self/statm")


def give_back() -> None:
    """Returns the free pages of all arenas (`malloc_trim`, glibc). Cost: milliseconds. Elsewhere it does nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class GrownMemory:
    """Gives memory back whenever this process has grown by `GROWN_BYTES`, so that what one piece of work took does not
    stay because a later one happens to lie behind it."""

    def __init__(self) -> None:
        self._before = _own_bytes()

    def look(self) -> None:
        """Looks how large the process is, which takes microseconds, and gives back what was freed if it has grown."""
        if _own_bytes() > self._before + GROWN_BYTES:
            give_back()
            self._before = _own_bytes()


def _own_bytes() -> int:
    """What is resident without files and shared memory; 0 without /proc."""
    try:
        _, resident, shared, *_ = STATM.read_bytes().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
