"""A process that can read what Python and its libraries need and a few folders, write nothing, and open no connection.

Landlock (Linux 5.13; connections from 6.7) holds for the process itself and whatever runs in it, foreign code included,
and cannot be taken back. It covers files and TCP, not UDP.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import components

# What the C library and decoders read besides their own code.
SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)


@cache
def available() -> bool:
    """Whether the kernel can confine a process."""
    if sys.platform != "linux":
        return False
    from py_landlock import LandlockError, get_abi_version

    try:
        return int(get_abi_version()) > 0
    except LandlockError:
        return False


def confine(folders: Iterable[Path]) -> None:
    """Confines this process, for good, to reading `folders` and what Python needs; nothing happens where the kernel
    cannot (`available`)."""
    if not available():
        return
    from py_landlock import AccessFs, Landlock

    python = (Path(sys.prefix), Path(sys.base_prefix), Path(components.__file__).parent)
    rules = Landlock(strict=False)
    for path in (*map(Path, SYSTEM), *python, *folders):
        if path.is_dir():
            rules.add_path_rule(path, access=AccessFs.READ_FILE | AccessFs.READ_DIR)
        elif path.exists():
            rules.add_path_rule(path, access=AccessFs.READ_FILE)
    rules.apply()
