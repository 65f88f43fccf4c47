"""A file that this user may not open or write, in one error: whose it is, and who asked."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from components.contracts.errors import MerError, UnavailableError, error_chain

DENIED = frozenset({errno.EACCES, errno.EPERM})
REMEDY = "Give this user the right to it, run as its owner, or work in a copy of your own."
READ_ONLY = "Make it writable, or work in a copy of the project on a different disk."


def no_right(error: BaseException) -> UnavailableError | None:
    """What to report instead of an error of the operating system that means a lack of rights; None for any other."""
    if isinstance(error, MerError):
        return None
    for link in error_chain(error):
        if isinstance(link, OSError) and isinstance(link.filename, str | bytes):
            path = Path(os.fsdecode(link.filename2 or link.filename))
            if link.errno == errno.EROFS:
                return UnavailableError("the disk is read-only", where=str(path), remedy=READ_ONLY)
            if link.errno in DENIED:
                return UnavailableError(
                    "this user may not open or write it",
                    where=str(path),
                    seen=f"user {os.geteuid()}{_owner(path)}",
                    remedy=REMEDY,
                )
    return None


def _owner(path: Path) -> str:
    """Of the nearest part of a path that can be looked at."""
    for place in (path, *path.parents):
        try:
            return f"; {place} belongs to user {place.stat().st_uid}"
        except OSError:
            continue
    return ""
