"""A disk of a few hundred kilobytes, to fill for real: a tmpfs, where this process may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """Mounts a disk of that size at a folder, which is made if need be; skips the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "mer-tests", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leaving_kib: int = 0) -> Path:
    """Fills the disk of a folder with a file, but for a rest; returns the file. Called again, it fills what got free;
    somebody else may write there meanwhile."""
    path = folder / "filler"
    free = os.statvfs(folder)
    rest = free.f_bavail * free.f_frsize - (leaving_kib << 10)
    with suppress(OSError), path.open("ab", buffering=0) as stream:
        while rest > 0:
            rest -= stream.write(b"\0" * min(rest, 1 << 20))
    return path
