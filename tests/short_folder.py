"""A folder for what cannot be in pytest's: sockets, whose paths are short, and files of other users."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder() -> Iterator[Path]:
    """A new folder with a short path, through which other users may pass: as root, PostgreSQL runs under a user of its
    own. pytest shuts its own folder to others whenever a session starts."""
    with tempfile.TemporaryDirectory(prefix="mer", dir="/tmp") as path:
        Path(path).chmod(0o711)
        yield Path(path)
