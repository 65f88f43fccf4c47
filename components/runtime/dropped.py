"""Lines of C++ libraries on standard error that mislead: dropped, and nothing else.

Ray's core writes to descriptor 2 by itself, so no logger can hold back one message of it, and its log level would hold
back all. A filter process stands between for as long as the block runs; being a process of its own it passes on what a
crash of this one says last. It is this file, run as a script.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK_BYTES = 1 << 16
END_S = 5.0


@contextmanager
def dropped(pattern: str, *, begins: str) -> Iterator[None]:
    """Drops the lines that match from what this process and its new children write to standard error.

    Args:
        pattern: a regular expression, searched in each line.
        begins: how a line that may match begins. Anything else is passed on at once, so that a progress bar, which
            writes pieces of a line, moves on.
    """
    sys.stderr.flush()
    real = os.dup(2)
    reader, writer = os.pipe()
    command = [sys.executable, "-I", "-S", __file__, pattern, begins]
    child = subprocess.Popen(command, stdin=reader, stdout=real, start_new_session=True)
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)
        with suppress(subprocess.TimeoutExpired):  # a child that began in the block still writes through the filter
            child.wait(timeout=END_S)


def pass_on(source: int, target: int, pattern: bytes, begins: bytes) -> None:
    """Copies what comes from a descriptor to another but for the lines that match, until it ends."""
    held = b""
    while chunk := os.read(source, CHUNK_BYTES):
        *lines, held = (held + chunk).split(b"\n")
        kept = b"".join(line + b"\n" for line in lines if not re.search(pattern, line))
        if not (held.startswith(begins) or begins.startswith(held)):
            kept, held = kept + held, b""
        _write(target, kept)
    _write(target, held)


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


if __name__ == "__main__":
    pass_on(0, 1, os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]))
