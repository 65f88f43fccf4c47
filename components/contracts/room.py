"""A full disk, in one error: which folder, and how much is free there.

Each library reports it in its own way: Python as an OSError with a number, Arrow, SQLite, safetensors and Ray in
words, an MLflow server in the body of its answer, a worker process in the text of its traceback.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import MerError, UnavailableError, error_chain

NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
WORDS = (
    "No space left on device",
    "Disk quota exceeded",
    "database or disk is full",  # SQLite
    "Local disk is full",  # Ray
    "No usable temporary directory",  # Python, where a file of a few bytes finds no room in any of them
)
UNFINISHED = ".tmp"
BYTES_PER_MIB = 1 << 20


@contextmanager
def full_disk_named(*folders: Path) -> Iterator[None]:
    """Raises UnavailableError where the block meets a full disk; see `no_room`. Other errors pass as they are."""
    try:
        yield
    except Exception as error:
        full = no_room(error, folders)
        if full is None or full is error:
            raise
        raise full from error


def is_full(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that a disk is full."""
    return any(_says_so(link) for link in error_chain(error))


def no_room(error: BaseException, folders: Iterable[Path]) -> UnavailableError | None:
    """What to report instead of an error that means a full disk; None for any other error.

    Args:
        error: as it was caught.
        folders: that were written to, beside that of temporary files. Where the error names no file, the one with the
            least room is meant: it is measured at once, before anything half written is removed.
    """
    links = list(error_chain(error))
    for link in links:
        if isinstance(link, UnavailableError) and link.code == Code.NO_ROOM:
            return link
    causes = [link for link in links if _says_so(link)]
    if not causes:
        return None
    named = [path for link in causes if (path := _written(link)) is not None]
    places = map(_existing, named or [*folders, _temporary()])
    folder = min(places, key=lambda place: shutil.disk_usage(place).free)
    return UnavailableError(
        "the disk is full",
        where=str(folder),
        seen=_free(folder),
        remedy="Make room there, then do the same again: what is finished is kept.",
        code=Code.NO_ROOM,
    )


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in NUMBERS:
        return True
    text = f"{error} {error.seen}" if isinstance(error, MerError) else str(error)
    return any(words in text for words in WORDS)


def _written(error: BaseException) -> Path | None:
    """The file that an error names: of a copy, the one that was written."""
    names = (getattr(error, "filename2", None), getattr(error, "filename", None))
    return next((Path(os.fsdecode(name)) for name in names if isinstance(name, str | bytes)), None)


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # none takes a file
        return Path(os.environ.get("TMPDIR", "/tmp"))


def _existing(path: Path) -> Path:
    """The nearest folder of a path that is there, and stays: `atomic` removes what it did not finish."""
    places = (path.absolute(), *path.absolute().parents)
    return next(place for place in places if place.is_dir() and not place.name.endswith(UNFINISHED))


def _free(folder: Path) -> str:
    usage, files = shutil.disk_usage(folder), os.statvfs(folder)
    room = f"{usage.free / BYTES_PER_MIB:.1f} of {usage.total / BYTES_PER_MIB:.0f} MiB free"
    return f"no further file possible, {room}" if files.f_files and not files.f_favail else room
