"""Backups of an MLflow server's volume, and their restore: its databases (SQLite) and its artifacts.

A snapshot is a folder with everything in its place, so that it can be read without this program. Databases are copied
by SQLite's own backup while the server goes on; artifacts are linked to those of the snapshot before where size and
time are the same, so that a snapshot costs what is new. The list of hashes is written last: a snapshot without it is
not one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from components.contracts.atomic import read_json, write_json
from components.contracts.errors import DataError
from components.contracts.fingerprint import file_sha256

HASHES = "sha256.json"
DATABASE = ".db"
BESIDE = ("-wal", "-shm", "-journal")  # SQLite's own, part of a database that is in use


def backup(store: Path, to: Path, *, keep: int, now: datetime | None = None) -> str:
    """Makes a snapshot of a server's folder and deletes the oldest ones; returns a line about it.

    Args:
        store: the server's folder, which must not be in `to`.
        to: where snapshots are kept, best on a different disk.
        keep: how many snapshots stay.
        now: names the snapshot; UTC.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    files = list(_files(store))
    if not files:
        raise DataError("there is nothing to back up", where=str(store), remedy="Name the folder of the MLflow server")
    before = next(iter(reversed(snapshots(to))), None)
    folder = to / (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H%M%SZ")
    folder.mkdir(parents=True)
    for path in files:
        name = path.relative_to(store)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _copy(path, folder / name, None if before is None else before / name)
    write_json(folder / HASHES, {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)})
    old = snapshots(to)[:-keep]
    for path in old:
        shutil.rmtree(path)
    return f"{folder}: {len(files)} files; {len(snapshots(to))} snapshots are kept, {len(old)} were deleted"


def restore(snapshot: Path, store: Path) -> str:
    """Puts a snapshot in the place of a server's folder, which must be empty; the server must not run.

    Raises:
        DataError: the snapshot is not whole, or the folder is not empty. Nothing was written then.
    """
    check(snapshot)
    if store.exists() and any(store.iterdir()):
        raise DataError(
            "the folder to restore to is not empty",
            where=str(store),
            remedy="Stop the server, move what is there aside, and try again",
        )
    files = [path for path in _files(snapshot) if path.name != HASHES]
    for path in files:
        target = store / path.relative_to(snapshot)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return f"{store}: {len(files)} files of {snapshot.name}"


def check(snapshot: Path) -> None:
    """Raises DataError: a file of a snapshot is missing or differs from what was written."""
    path = snapshot / HASHES
    if not path.is_file():
        names = ", ".join(item.name for item in snapshots(snapshot.parent)) or "none"
        raise DataError("this is not a whole snapshot", where=str(snapshot), allowed=names)
    for name, sha256 in read_json(path).items():
        file = snapshot / name
        if not file.is_file() or file_sha256(file) != sha256:
            raise DataError("a file of the snapshot is damaged", where=str(file), remedy="Take a different snapshot")


def snapshots(folder: Path) -> list[Path]:
    """The whole snapshots of a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"*/{HASHES}"))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(tuple(f"{DATABASE}{end}" for end in BESIDE)):
            yield path


def _copy(path: Path, target: Path, earlier: Path | None) -> None:
    if path.suffix == DATABASE:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    elif earlier is not None and earlier.is_file() and _state(earlier) == _state(path):
        os.link(earlier, target)
    else:
        shutil.copy2(path, target)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
