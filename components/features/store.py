"""The feature store: every clip encoded once, addressed by content.

A key names one modality of one clip as one encoder saw it. Rows are one step each: `key`, `step`, `valid`, `values` (a
fixed-shape tensor of width D), sorted by key and step, in Parquet shards named by the SHA-256 of their bytes. Nothing
else is in them, so equal features give equal files.

`write` adds a shard beside the others; `settle` brings a modality into its one canonical form, from its shards and from
pieces that actors wrote (`pieces.py`): a key's shard follows from the key alone and from how many rows there are, so
that adding a clip rewrites the shards it falls into and leaves the bytes of the others, whatever the order clips came
in. The shards of the form before stay until `prune`: a process that dies between the two loses nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise, starmap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.contracts.errors import DataError
from components.contracts.fingerprint import file_sha256, fingerprint
from components.features.base import Encoded

SHARD_BYTES = 64 << 20
GROUP_BYTES = 4 << 20
FLOAT_BYTES = 4
KEY_HEX = 64
PREFIX, SUFFIX = "shard-", ".parquet"
# The shards that have some keys: shard → keys.
Sources = Mapping[Path, Sequence[str]]
# Runs `write_bucket` on the arguments of each call, here or elsewhere; returns the names in any order.
Run = Callable[[Callable[[Path, Sources], str], Sequence[tuple[Path, Sources]]], Iterable[str]]
AGAIN = "Run the features stage again: it encodes what is damaged anew."
READABLE = "Let the user that reads it read files there, and look at the disk."


def feature_key(content_sha256: str, alignment_fingerprint: str, encoder_fingerprint: str) -> str:
    """The key of one modality of one clip: SHA-256 over what the features are a function of."""
    return fingerprint([content_sha256, alignment_fingerprint, encoder_fingerprint])


class FeatureStore:
    """The features of one dataset: a folder with one folder per modality."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shards(self, modality: str) -> list[Path]:
        """The shard files of a modality, by name."""
        return sorted((self.folder / modality).glob(f"{PREFIX}*{SUFFIX}"))

    def modalities(self) -> tuple[str, ...]:
        """The modalities that have a folder, by name."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in self.folder.iterdir() if path.is_dir()))

    def keys(self, modality: str) -> frozenset[str]:
        """The stored keys. Reads the key column only."""
        return frozenset(key for shard in self.shards(modality) for key in _unique_keys(shard))

    def coverage(self, modality: str, keys: Collection[str]) -> dict[str, float]:
        """Share of valid steps by key, for those of `keys` that are stored; does not read the values."""
        requested = set(keys)
        coverage_of: dict[str, float] = {}
        for shard in self.shards(modality):
            table = pq.read_table(shard, columns=["key", "valid"])
            means = table.group_by("key").aggregate([("valid", "mean")])
            for key, mean in zip(means["key"].to_pylist(), means["valid_mean"].to_pylist(), strict=True):
                if key in requested:
                    coverage_of[key] = mean
        return coverage_of

    def drop_damaged(self, modality: str) -> list[Path]:
        """Removes shards whose bytes do not match the hash in their names; returns them."""
        damaged = [shard for shard in self.shards(modality) if not _is_whole(shard)]
        for shard in damaged:
            shard.unlink()
        return damaged

    def width(self, modality: str) -> int | None:
        """Features per step, or None where the modality has no shard. Raises DataError if its shards differ."""
        widths = {_width(pq.read_schema(shard)) for shard in self.shards(modality)}
        if len(widths) > 1:
            raise DataError("shards of several widths", where=str(self.folder / modality), seen=sorted(widths))
        return widths.pop() if widths else None

    def write(self, modality: str, encoded: Mapping[str, Encoded]) -> Path | None:
        """Writes clips as one more shard, atomically; returns it, or None for nothing.

        Raises:
            DataError: the clips have different widths, or one has no step.
        """
        if not encoded:
            return None
        widths = {item.values.shape[1] for item in encoded.values()}
        if len(widths) != 1:
            raise DataError("clips of several widths", where=modality, seen=sorted(widths))
        for key, item in encoded.items():
            if not item.valid.size:
                raise DataError("a clip without steps cannot be stored", where=f"{modality}: {key}")
        return self._write_shard(modality, sorted(encoded.items()))

    def read(self, modality: str, keys: Iterable[str], *, width: int | None = None) -> dict[str, Encoded]:
        """Reads clips, in the order of `keys`; only the row groups that contain them are read.

        Args:
            modality: whose features.
            keys: which clips.
            width: features per step that the caller needs.

        Raises:
            DataError: a key is missing, or the features have a different width.
        """
        ordered = list(dict.fromkeys(keys))
        requested = set(ordered)
        items: dict[str, Encoded] = {}
        for shard in self.shards(modality):
            if len(items) == len(requested):
                break
            for key, item in _read_shard(shard, requested - items.keys()):
                self._check_width(modality, key, item, width)
                items[key] = item
        missing = [key for key in ordered if key not in items]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(ordered)} keys are not in the feature store",
                where=str(self.folder / modality),
                seen=missing[0],
                remedy="Run the features stage again",
            )
        return {key: items[key] for key in ordered}

    def scan(self, modality: str, *, width: int | None = None) -> Iterator[tuple[str, Encoded]]:
        """Every stored clip, shard by shard, with one row group in memory at a time.

        Parquet does not notice every flipped bit, so each shard's bytes are compared with the hash in its name first.

        Raises:
            DataError: a shard is damaged, or the features have a different width.
        """
        for shard in self.shards(modality):
            _check_whole(shard)
            for key, item in _read_shard(shard, None):
                self._check_width(modality, key, item, width)
                yield key, item

    def check(self, modality: str) -> None:
        """Compares the bytes of every shard with the hash in its name; a process does so once per file.

        Raises:
            DataError: a shard is damaged or cannot be read.
        """
        for shard in self.shards(modality):
            _check_whole(shard)

    def compact(self, modality: str, keys: Collection[str]) -> None:
        """Brings a modality into its canonical form, with exactly these keys; all other rows are dropped.

        Holds one shard in memory at a time. Raises DataError if a key is missing.
        """
        self.prune(modality, self.settle(modality, keys))

    def settle(
        self, modality: str, keys: Collection[str], *, pieces: FeatureStore | None = None, run: Run = starmap
    ) -> set[str]:
        """Writes the shards of the canonical form with exactly these keys; those that are there stay, others too.

        Args:
            modality: whose.
            keys: of this store or of `pieces`.
            pieces: files of the same form in a different folder.
            run: how the shards that have to be written are; each is a call of its own, with one shard in memory.

        Returns:
            the names of the canonical shards.

        Raises:
            DataError: a key is missing.
        """
        where: dict[str, Path] = {}
        held, size_bytes = {}, 0
        requested = set(keys)
        for shard in (*self.shards(modality), *(pieces.shards(modality) if pieces else ())):
            rows, step_bytes = _rows_of_keys(shard), _width(pq.read_schema(shard)) * FLOAT_BYTES
            held[shard] = sorted(rows)
            for key in rows.keys() - where.keys():
                where[key] = shard
                size_bytes += rows[key] * step_bytes if key in requested else 0
        ordered = sorted(requested)
        if missing := next((key for key in ordered if key not in where), None):
            raise DataError("keys are not in the feature store", where=f"{self.folder / modality}", seen=missing)
        kept: set[str] = set()
        calls: list[tuple[Path, Sources]] = []
        for bucket in _buckets(ordered, size_bytes):
            sources: dict[Path, list[str]] = {}
            for key in bucket:
                sources.setdefault(where[key], []).append(key)
            source = next(iter(sources))
            if len(sources) == 1 and source.parent == self.folder / modality and held[source] == bucket:
                kept.add(source.name)
            else:
                calls.append((self.folder / modality, sources))
        if calls:
            (self.folder / modality).mkdir(parents=True, exist_ok=True)
        return kept.union(run(write_bucket, calls))

    def prune(self, modality: str, kept: Collection[str]) -> None:
        """Removes the shards of a modality but those of these names, what a killed process was writing, and the folder
        if it is empty then."""
        folder = self.folder / modality
        for path in (*self.shards(modality), *folder.glob(".*.tmp")):
            if path.name not in kept:
                path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _check_width(self, modality: str, key: str, item: Encoded, width: int | None) -> None:
        if width is not None and item.values.shape[1] != width:
            raise DataError(
                "features have a different width",
                where=f"{self.folder / modality}: {key}",
                seen=item.values.shape[1],
                allowed=width,
                remedy="They come from a different encoder; run the features stage again",
            )

    def _write_shard(self, modality: str, items: list[tuple[str, Encoded]]) -> Path:
        folder = self.folder / modality
        folder.mkdir(parents=True, exist_ok=True)
        return folder / _write_shard(folder, items)


def write_bucket(folder: Path, sources: Sources) -> str:
    """Writes the shard of some keys into an existing folder, atomically; returns its name.

    Raises:
        DataError: a source is damaged, or has no such key.
    """
    items = [item for shard, keys in sources.items() for item in _read_shard(shard, set(keys))]
    if len(items) != sum(map(len, sources.values())):
        raise DataError("keys are not in the feature store", where=f"{folder}", seen=f"{len(items)} of them")
    return _write_shard(folder, sorted(items, key=lambda item: item[0]))


def _write_shard(folder: Path, items: list[tuple[str, Encoded]]) -> str:
    beside = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        write_rows(beside, items)
        name = f"{PREFIX}{file_sha256(beside)}{SUFFIX}"
        beside.replace(folder / name)
        return name
    finally:
        beside.unlink(missing_ok=True)


def write_rows(path: Path, items: list[tuple[str, Encoded]], *, group_bytes: int | None = None) -> None:
    """Writes clips, sorted by key, as one file; row groups have `group_bytes` (GROUP_BYTES) and one clip at least."""
    width = items[0][1].values.shape[1]
    schema = shard_schema(width)
    group_rows = max(1, (GROUP_BYTES if group_bytes is None else group_bytes) // (width * FLOAT_BYTES))
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["key"], write_statistics=["key"]) as writer:
        for group in _groups(items, group_rows):
            writer.write_table(_table(group, schema), row_group_size=1 << 30)


def shard_schema(width: int) -> pa.Schema:
    """The schema of a shard of width D."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("step", pa.int32(), nullable=False),
            pa.field("valid", pa.bool_(), nullable=False),
            pa.field("values", pa.fixed_shape_tensor(pa.float32(), (width,)), nullable=False),
        ]
    )


def _groups(items: list[tuple[str, Encoded]], group_rows: int) -> Iterator[list[tuple[str, Encoded]]]:
    """Whole clips, as many as fit into a row group (one at least), so that a clip never spans two."""
    group: list[tuple[str, Encoded]] = []
    rows = 0
    for key, item in items:
        if group and rows + item.valid.size > group_rows:
            yield group
            group, rows = [], 0
        group.append((key, item))
        rows += item.valid.size
    if group:
        yield group


def _table(items: list[tuple[str, Encoded]], schema: pa.Schema) -> pa.Table:
    lengths = [item.valid.size for _, item in items]
    values = np.ascontiguousarray(np.concatenate([item.values for _, item in items]), dtype=np.float32)
    columns = [
        pa.array(np.repeat([key for key, _ in items], lengths).tolist(), pa.string()),
        pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        pa.array(np.concatenate([item.valid for _, item in items])),
        pa.FixedShapeTensorArray.from_numpy_ndarray(values),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _unique_keys(shard: Path) -> list[str]:
    """The keys of a shard, ascending."""
    return sorted(pc.unique(pq.read_table(shard, columns=["key"])["key"]).to_pylist())


def _rows_of_keys(shard: Path) -> dict[str, int]:
    """Key → number of rows, of the keys of a shard."""
    counts = pc.value_counts(pq.read_table(shard, columns=["key"])["key"].combine_chunks())
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def _width(schema: pa.Schema) -> int:
    return int(schema.field("values").type.shape[0])


def _read_shard(shard: Path, requested: Collection[str] | None) -> Iterator[tuple[str, Encoded]]:
    """The requested clips of a shard, or all of them, group by group. Raises DataError: the file is damaged."""
    try:
        yield from _read_groups(shard, requested)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(shard, str(error).strip().splitlines()[0]) from error


def _is_whole(shard: Path) -> bool:
    """Whether a shard's bytes have the hash in its name."""
    return shard.stem == f"{PREFIX}{file_sha256(shard)}"


def _check_whole(shard: Path) -> None:
    try:
        status = shard.stat()
        whole = _known_whole(shard, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise _damaged(shard, str(error), remedy=READABLE) from error
    if not whole:
        raise _damaged(shard, "its bytes do not have the hash in its name")


@lru_cache(maxsize=65_536)
def _known_whole(shard: Path, inode: int, size: int, changed_ns: int) -> bool:
    """`_is_whole`, for each state of a file once."""
    return _is_whole(shard)


def _damaged(shard: Path, why: str, *, remedy: str = AGAIN) -> DataError:
    return DataError(
        "a feature shard cannot be read",
        where=str(shard),
        seen=why,
        remedy=remedy,
    )


def _read_groups(shard: Path, requested: Collection[str] | None) -> Iterator[tuple[str, Encoded]]:
    with pq.ParquetFile(shard) as file:
        ordered = np.array(sorted(requested or ()))
        column = file.schema_arrow.get_field_index("key")
        for group in range(file.num_row_groups):
            bounds = file.metadata.row_group(group).column(column).statistics
            if requested is not None and bounds is not None and bounds.has_min_max:
                first = np.searchsorted(ordered, bounds.min, side="left")
                if first == len(ordered) or ordered[first] > bounds.max:
                    continue
            table = file.read_row_group(group)
            yield from _clips(table, requested)


def _clips(table: pa.Table, requested: Collection[str] | None) -> Iterator[tuple[str, Encoded]]:
    keys = table["key"].to_pylist()
    starts = [0, *(at for at in range(1, len(keys)) if keys[at] != keys[at - 1]), len(keys)]
    values = table["values"].combine_chunks().to_numpy_ndarray() if len(keys) else np.zeros((0, 0), np.float32)
    valid = table["valid"].to_numpy(zero_copy_only=False)
    for start, stop in pairwise(starts):
        if start < stop and (requested is None or keys[start] in requested):
            yield keys[start], Encoded(values[start:stop].copy(), valid[start:stop].astype(bool))


def _buckets(keys: list[str], size_bytes: int) -> list[list[str]]:
    """Sorted keys dealt by their leading bits to a power of two of buckets of about SHARD_BYTES; none is empty."""
    bits = max(0, int(np.ceil(np.log2(max(1.0, size_bytes / SHARD_BYTES)))))
    buckets: dict[int, list[str]] = {}
    for key in keys:
        # Keys of the stage are SHA-256 in hex; any other string is hashed, so that the store takes every key.
        digest = key if len(key) == KEY_HEX and _is_hex(key) else hashlib.sha256(key.encode()).hexdigest()
        buckets.setdefault(int(digest[:8], 16) >> (32 - bits), []).append(key)
    return [buckets[index] for index in sorted(buckets)]


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in text)
