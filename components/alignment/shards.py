"""Aligned shards: Parquet files of about the same size, rows in the order of clip ids, equal rows in equal bytes.

The ends of row groups and files follow from the rows alone, never from the order of their arrival, so a run that
computes ten new clips leaves the same files as a run that computes all of them. For the same reason the files before
the first row that was added, removed or changed stay the same: `linked` takes them over without reading them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.contracts.records import ALIGNED_SCHEMA, AlignedClip, Quality

SHARD_BYTES = 256 << 20
GROUP_BYTES = 8 << 20
KEY_COLUMNS = ["clip_id", "content_sha256", "alignment_fingerprint"]


@dataclass(frozen=True, kw_only=True)
class StoredRow:
    """A row of a shard without its media."""

    clip_id: str
    content_sha256: str
    alignment_fingerprint: str
    quality: Quality
    shard: Path


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder, in order; none if there is no such folder."""
    return sorted(folder.glob("shard-*.parquet"))


def stored_in(folder: Path) -> list[StoredRow]:
    """Every row in order, media not read. A shard that cannot be read, or has a different schema, yields none."""
    rows: list[StoredRow] = []
    for path in shard_paths(folder):
        try:
            if pq.read_schema(path).equals(ALIGNED_SCHEMA):
                table = pq.read_table(path, columns=[*KEY_COLUMNS, "quality"])
                rows += [_stored(row, path) for row in table.to_pylist()]
        except (pa.ArrowException, OSError):
            continue
    return rows


def _stored(row: dict[str, Any], shard: Path) -> StoredRow:
    return StoredRow(**{name: row[name] for name in KEY_COLUMNS}, quality=Quality.from_row(row["quality"]), shard=shard)


def keys_of(folder: Path) -> dict[str, tuple[str, str]]:
    """Clip id → (content hash, alignment fingerprint) of every row; reads no media column."""
    keys: dict[str, tuple[str, str]] = {}
    for path in shard_paths(folder):
        for row in pq.read_table(path, columns=KEY_COLUMNS).to_pylist():
            keys[row["clip_id"]] = (row["content_sha256"], row["alignment_fingerprint"])
    return keys


def rows_of(folder: Path) -> Iterator[pa.Table]:
    """Every row as a table of one row, in the order of clip ids; holds one row group at a time."""
    for path in shard_paths(folder):
        yield from shard_rows(path)


def shard_rows(path: Path) -> Iterator[pa.Table]:
    """The rows of one shard, each as a table of one row."""
    with pq.ParquetFile(path) as file:
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group).cast(ALIGNED_SCHEMA)
            for i in range(table.num_rows):
                yield table.slice(i, 1)


def linked(rows: Sequence[StoredRow], clip_ids: Sequence[str], kept: Set[str], folder: Path) -> list[Path]:
    """Takes whole shards over into `folder`, as links where the file system has them.

    Args:
        rows: of the shards, in order.
        clip_ids: the clips to write, in order.
        kept: those of them whose row in `rows` still holds.
        folder: the destination, still without shards.

    Returns:
        The shards that were taken over: the first ones, as many as contain exactly the first of `clip_ids` and end
        where they would end if they were written anew.
    """
    taken: list[Path] = []
    at = 0
    for shard, inside in groupby(rows, key=lambda row: row.shard):
        ids = [row.clip_id for row in inside]
        end = at + len(ids)
        # A file ends because the next row did not fit, so that row has to be the same, or absent in both.
        following = [row.clip_id for row in rows[end : end + 1]]
        if list(clip_ids[at:end]) != ids or not kept >= set(ids):
            break
        if end < len(clip_ids) and not (following == [clip_ids[end]] and clip_ids[end] in kept):
            break
        _link(shard, folder / f"shard-{len(taken):05d}.parquet")
        taken.append(shard)
        at = end
    return taken


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def clips_of(folder: Path) -> Iterator[AlignedClip]:
    """The aligned clips of a folder, in the order of clip ids."""
    for row in rows_of(folder):
        yield AlignedClip.from_row(row.to_pylist()[0])


class ShardWriter:
    """Writes rows, given in the order of clip ids, to `shard-00000.parquet` and on. A context manager.

    Args:
        folder: the destination.
        first: the number of the first shard, where earlier ones exist.
        shard_bytes, group_bytes: the largest sizes of a file and of a row group.
    """

    def __init__(
        self, folder: Path, *, first: int = 0, shard_bytes: int = SHARD_BYTES, group_bytes: int = GROUP_BYTES
    ) -> None:
        self._folder = folder
        self._shard_bytes, self._group_bytes = shard_bytes, group_bytes
        self._group: list[pa.Table] = []
        self._group_size = self._shard_size = 0
        self._shards = first
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._close()

    def write(self, row: pa.Table) -> None:
        """Adds one row of `ALIGNED_SCHEMA`."""
        size = row_bytes(row)
        if self._shard_size and self._shard_size + size > self._shard_bytes:
            self._flush()
            self._close()
        elif self._group_size and self._group_size + size > self._group_bytes:
            self._flush()
        self._group.append(row)
        self._group_size += size
        self._shard_size += size

    def write_all(self, rows: Iterable[pa.Table]) -> None:
        """Adds many rows."""
        for row in rows:
            self.write(row)

    def _flush(self) -> None:
        if not self._group:
            return
        if self._writer is None:
            path = self._folder / f"shard-{self._shards:05d}.parquet"
            # Crops are JPEG already: a fast level suffices to compress the sound and the masks.
            self._writer = pq.ParquetWriter(path, ALIGNED_SCHEMA, compression="zstd", compression_level=1)
            self._shards += 1
        self._writer.write_table(pa.concat_tables(self._group).combine_chunks())
        self._group, self._group_size = [], 0

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_size = None, 0


def row_bytes(row: pa.Table) -> int:
    """Size of the media in a row: the same for a new row and for the same row read back."""
    pictures, physio, given = (row[name].combine_chunks() for name in ("face_jpeg", "physio", "given"))
    blobs = (pictures.flatten(), physio.items, given.items, row["pcm"].combine_chunks())
    return sum(pc.sum(pc.binary_length(blob)).as_py() or 0 for blob in blobs)
