"""Aligned shards: Parquet files of about the same size, rows in the order of clip ids, equal rows in equal bytes.

Where one row group or one file ends follows from the rows alone, never from when they arrived, so a run that computes
ten new clips leaves the same files as a run that computes all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.records import ALIGNED_SCHEMA, AlignedClip

SHARD_BYTES = 256 << 20
GROUP_BYTES = 8 << 20
KEY_COLUMNS = ["clip_id", "content_sha256", "alignment_fingerprint"]


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder, in order; none if there is no such folder."""
    return sorted(folder.glob("shard-*.parquet"))


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
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                table = file.read_row_group(group).cast(ALIGNED_SCHEMA)
                for i in range(table.num_rows):
                    yield table.slice(i, 1)


def clips_of(folder: Path) -> Iterator[AlignedClip]:
    """The aligned clips of a folder, in the order of clip ids."""
    for row in rows_of(folder):
        yield AlignedClip.from_row(row.to_pylist()[0])


class ShardWriter:
    """Writes rows, given in the order of clip ids, to `shard-00000.parquet` and on. A context manager."""

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES, group_bytes: int = GROUP_BYTES) -> None:
        self._folder = folder
        self._shard_bytes, self._group_bytes = shard_bytes, group_bytes
        self._group: list[pa.Table] = []
        self._group_size = self._shard_size = self._shards = 0
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
            # Crops are JPEG already: a fast level only takes the slack out of the sound and the masks.
            self._writer = pq.ParquetWriter(path, ALIGNED_SCHEMA, compression="zstd", compression_level=1)
            self._shards += 1
        self._writer.write_table(pa.concat_tables(self._group).combine_chunks())
        self._group, self._group_size = [], 0

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_size = None, 0


def row_bytes(row: pa.Table) -> int:
    """Size of the media in a row: the same for a row just made and for the same row read back."""
    jpeg = sum(len(data) for data in row["face_jpeg"][0].as_py() or () if data is not None)
    arrays = (*(row["physio"][0].as_py() or ()), *(row["given"][0].as_py() or ()))
    return jpeg + sum(len(data) for _, data in arrays) + len(row["pcm"][0].as_py() or b"")
