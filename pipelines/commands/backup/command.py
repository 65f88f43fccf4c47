"""Backups of an MLflow server's volume or of a bucket, and their restore.

A store is a folder with databases (SQLite) and artifacts, or `s3://bucket/prefix`, such as the DVC remote. A snapshot
is a folder with everything in its place, so that it can be read without this program. Databases are copied by SQLite's
own backup while the server runs; other files are linked to those of the snapshot before where size and time are the
same, so that a snapshot costs what is new. The list of hashes is written last: a snapshot without it is not one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from components.contracts.atomic import read_json, write_json
from components.contracts.errors import DataError
from components.contracts.fingerprint import file_sha256
from components.datasets import remote
from components.runtime.progress import progress

HASHES = "sha256.json"
DATABASE = ".db"
BESIDE = ("-wal", "-shm", "-journal")  # SQLite's own, part of a database that is in use


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One file of a store: its name there, its size in bytes, when it changed, and how it is copied to a path."""

    name: str
    size: int
    changed_ns: int
    copy: Callable[[Path], None]


def backup(store: str, to: Path, *, keep: int, now: datetime | None = None) -> str:
    """Makes a snapshot of a store and deletes the oldest ones; returns a line about it.

    Args:
        store: the server's folder, which must not be in `to`, or `s3://bucket/prefix`.
        to: where snapshots are kept, best on a different disk.
        keep: how many snapshots stay.
        now: names the snapshot; UTC.

    Raises:
        DataError: there is no such store, nothing in it, or an object whose name cannot be that of a file.
    """
    files = _of_bucket(store) if store.startswith(remote.SCHEME) else _of_folder(Path(store))
    if not files:
        remedy = "Name the folder of the MLflow server, or a bucket"
        raise DataError("there is nothing to back up", where=store, remedy=remedy)
    before = next(iter(reversed(snapshots(to))), None)
    folder = to / (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H%M%SZ")
    folder.mkdir(parents=True)

    def bring(file: Stored) -> None:
        target, earlier = folder / file.name, None if before is None else before / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if earlier is not None and earlier.is_file() and _state(earlier) == (file.size, file.changed_ns):
            os.link(earlier, target)
        else:
            file.copy(target)

    with ThreadPoolExecutor(remote.THREADS) as pool, progress(f"back up {store}", len(files)) as advance:
        for _ in pool.map(bring, files):
            advance(1)
    write_json(folder / HASHES, {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)})
    old = snapshots(to)[:-keep]
    for path in old:
        shutil.rmtree(path)
    return f"{folder}: {len(files)} files; {len(snapshots(to))} snapshots are kept, {len(old)} were deleted"


def restore(snapshot: Path, store: str) -> str:
    """Puts a snapshot in the place of a store, which must be empty; a server must not use it.

    Raises:
        DataError: the snapshot is not whole, or the store is not empty. Nothing was written then.
    """
    check(snapshot)
    bucket = remote.place_of(store, where="--store") if store.startswith(remote.SCHEME) else None
    if remote.listing(bucket) if bucket is not None else Path(store).exists() and any(Path(store).iterdir()):
        raise DataError(
            "the place to restore to is not empty",
            where=store,
            remedy="Stop the server, move what is there aside, and try again",
        )
    files = [path for path in _files(snapshot) if path != snapshot / HASHES]

    def put(path: Path) -> None:
        name = path.relative_to(snapshot)
        if bucket is not None:
            remote.put(path, bucket, name.as_posix())
            return
        (Path(store) / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, Path(store) / name)

    with ThreadPoolExecutor(remote.THREADS) as pool, progress(f"restore {store}", len(files)) as advance:
        for _ in pool.map(put, files):
            advance(1)
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


def _of_folder(folder: Path) -> Sequence[Stored]:
    """The files of a server's folder; a database is never linked."""
    stored = []
    for path in _files(folder):
        size, changed_ns = _state(path)
        name = path.relative_to(folder).as_posix()
        if path.suffix == DATABASE:
            stored.append(Stored(name=name, size=size, changed_ns=-1, copy=partial(_copy_database, path)))
        else:
            stored.append(Stored(name=name, size=size, changed_ns=changed_ns, copy=partial(_copy, path)))
    return stored


def _of_bucket(address: str) -> Sequence[Stored]:
    """The objects below an address."""
    place = remote.place_of(address, where="--store")
    objects = remote.listing(place)
    names = {item.name for item in objects}
    for item in objects:
        if not remote.is_file_name(item.name, names) or not item.name:
            raise DataError(
                "an object's name cannot be that of a file",
                where=address,
                seen=item.name,
                remedy="Name a prefix without it, or rename the object",
            )
    return [
        Stored(name=item.name, size=item.size, changed_ns=item.changed_ns, copy=partial(_fetch, place, item))
        for item in objects
    ]


def _fetch(place: Path, item: remote.Object, target: Path) -> None:
    remote.fetch(place, target, item)


def _copy(path: Path, target: Path) -> None:
    shutil.copy2(path, target)


def _copy_database(path: Path, target: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
