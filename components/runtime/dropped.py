"""A filter that drops misleading lines of C++ libraries from standard error.

Ray's core writes to descriptor 2 directly, so no logger can hold back a single message of it, and its log level would
hold back all. A filter process stands between while the block runs; as a separate process it still passes on the last
messages when this one crashes. It is this file, run as a script.
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
    """Drops matching lines from the standard error of this process and of children that it starts in the block.

    Args:
        pattern: a regular expression, searched in each line.
        begins: the beginning of every line that may match. Anything else is passed on at once, so that a progress bar,
            which writes pieces of a line, stays current.
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
        with suppress(subprocess.TimeoutExpired):  # a child started in the block still writes through the filter
            child.wait(timeout=END_S)


def pass_on(source: int, target: int, pattern: bytes, begins: bytes) -> None:
    """Copies from one descriptor to the other without the matching lines, until the source ends."""
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
