"""Atomic writing of files, folders, JSON and Parquet, and lines that are added to a file whole.

Write beside, then rename: a reader gets the old file or the new one, never half of one. A full disk is reported as
UnavailableError with the folder, whichever library meets it.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.room import full_disk_named


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it replaces `path`, on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with full_disk_named(path.parent):
            yield beside
            # Some writers make files that only their owner may read, but stores and caches are shared.
            beside.chmod(0o644)
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """Yields a fresh folder beside `path`; on success it takes the place of `path`, on failure it is removed.

    With `synced` what is in it has reached the disk before it appears, so that a power cut leaves no file of zeros.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with full_disk_named(path.parent):
            beside.mkdir()
            yield beside
            for entry in (*beside.rglob("*"), beside) if synced else ():
                _sync(entry)
            if path.exists():
                old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
                os.replace(path, old)
                os.replace(beside, path)
                shutil.rmtree(old)
            else:
                os.replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def append_lines(path: Path, lines: str) -> None:
    """Adds lines to a file, which is made if need be; where they do not fit on the disk, the file is as it was."""
    rest = lines.encode()
    with full_disk_named(path.parent), path.open("ab", buffering=0) as stream:
        size = stream.tell()
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            stream.truncate(size)
            raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON value, sorted and indented, atomically. Raises ValueError on NaN or infinity."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: pa.Table, *, row_group_rows: int = 65_536) -> None:
    """Writes one Parquet file atomically; equal tables give equal bytes, whatever the chunks that they are in."""
    with atomic_file(path) as beside, pq.ParquetWriter(beside, table.schema, compression="zstd") as writer:
        for first in range(0, max(table.num_rows, 1), row_group_rows):
            writer.write_table(table.slice(first, row_group_rows).combine_chunks(), row_group_size=row_group_rows)
