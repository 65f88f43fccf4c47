"""The folder of this machine for what it fetched to work on: a cache that all processes of a user share."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from components.contracts.errors import UnavailableError


def node_folder() -> Path:
    """The folder, below that of temporary files (`TMPDIR`), made if need be; nobody else may read or write there.

    Raises:
        UnavailableError: there is something of that name that is not this user's own folder.
    """
    path = Path(tempfile.gettempdir()) / f"mer-node-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UnavailableError(
            "the folder for what this machine fetches is not this user's own",
            where=str(path),
            seen=f"mode {status.st_mode:o}, user {status.st_uid}",
            allowed=f"a folder, mode 700, user {os.getuid()}",
            remedy="Remove it, or name a different folder for temporary files (TMPDIR)",
        )
    return path
