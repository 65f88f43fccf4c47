"""What a corpus folder holds and no clip uses, counted by file name ending: a recording in a format that the adapter
does not list, or that no table names, would otherwise be missing without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from components.datasets.base import files_below
from components.datasets.litter import litter

NO_SUFFIX = "without a suffix"


@dataclass(frozen=True, kw_only=True)
class UnusedFiles:
    """Files of one kind: how many, and the first of them."""

    count: int
    example: str


def unused_files(
    places: Iterable[Path], used: Iterable[Path], reads: Iterable[str], folders: Iterable[Path] = ()
) -> dict[str, UnusedFiles]:
    """The files below some folders that nothing uses, by suffix; litter (`litter.py`) by what it is called.

    Args:
        places: the corpus's folders.
        used: the files of its clips and quarantine rows, and tables.
        reads: patterns of further files that the adapter reads, relative to the folder; see `Adapter.reads`.
        folders: folders that are used as a whole (numbered pictures), which are not entered.
    """
    known = {os.path.normpath(path) for path in used}
    patterns, whole = tuple(reads), list(folders)
    files_of: dict[str, list[Path]] = {}
    for place in places:
        for path in sorted(files_below(place, skip=whole, with_litter=True)):
            if os.path.normpath(path) in known:
                continue
            below = path.relative_to(place)
            kind = next(filter(None, map(litter, below.parts)), None)
            if kind is None and any(fnmatchcase(below.as_posix(), pattern) for pattern in patterns):
                continue
            files_of.setdefault(kind or path.suffix.lower() or NO_SUFFIX, []).append(path)
    return {kind: UnusedFiles(count=len(files), example=str(files[0])) for kind, files in sorted(files_of.items())}
