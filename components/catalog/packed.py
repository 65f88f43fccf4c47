"""The examples of a catalog in one file on disk, for corpora that memory does not hold.

A feature store is sorted by hash, modality by modality, in compressed row groups of 4 MB. That is right for writing and
for reading a whole split; reading single clips from it in a random order costs a row group for each, some fifty times
what is needed. So each store, here or in an object store, is gone through once, a row group at a time, and the arrays
of every clip are written to their place in one file: clip after clip in the order of ids, and within a clip modality
after modality.

* **Equal**: `PackedExamples` gives the examples that `load_examples` gives from memory, with the same bits. Training
  therefore keeps its order, the permutation of all clips, a pure function of (seed, epoch); nothing is shuffled within
  blocks, and how much memory there is changes no result.
* **Read amplification** is 1: a clip is one read of its own bytes (rounded up to pages of 4 KiB), so all workers of a
  node together read the corpus once per epoch, and the stores once in all.
* **Before the first step** of a training the driver reads each training clip twice, for the transform (once more with
  `train.normalise: dataset`) and for its labels, and each held-out clip once; labels and places travel to the workers,
  about 30 bytes per clip. Each worker then reads up to 16,384 training clips once, to standardise statistics, and does
  so again when it starts anew. With `train.windows` it goes through all training clips once more.
* **Memory** of a process: the row group or the clips in use, and some 100 bytes per clip for the index; the catalog's
  rows are mapped, not loaded. While packing, the catalog, and twice 100 bytes per clip and modality.
* **Disk**: four bytes per feature, so about what the stores hold uncompressed. Nodes of a training that share an object
  store may leave the file there (`runtime.cache_mb`, `training/nodes/materials.py`).
* **Damage**: each clip has a CRC-32 per modality, made before it is written and compared whenever it is read, which
  takes 0.03 ms per 100 kB. A bit that flips on the disk, in the object store, in a node's cache or on the way stops a
  training instead of changing its weights.

A folder of this kind is a cache: it is named by the catalog and the shards (whose names are the hashes of their bytes),
appears complete or not at all, and may be deleted.
"""

from __future__ import annotations

import os
import shutil
import weakref
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from components.catalog.examples import Example, check_steps, example_of, load_examples, read_catalog, widths_of
from components.contracts.atomic import atomic_dir
from components.contracts.columns import pairs, sorted_by
from components.contracts.errors import DataError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.features.base import Encoded
from components.features.remote_store import RemoteFeatureStore
from components.features.store import FLOAT_BYTES, KEY_HEX, FeatureStore
from components.runtime.alone import alone_in
from components.runtime.on_demand import OnDemand
from components.runtime.progress import progress

CLIPS, ROWS, CHECKSUM = "clips.bin", "rows.arrow", "rows.crc32"
# What is in the files, so that a folder of an earlier version of this code is not read.
FORMAT = 2
# Values of a modality begin at a multiple of this, as their type needs.
ALIGNED = FLOAT_BYTES
ROWS_AT_ONCE = 65_536
KEY_TYPE = f"S{KEY_HEX}"
# How many files an error names.
SHARDS_SHOWN = 4
BYTES_PER_MB = 1_000_000
Store = FeatureStore | RemoteFeatureStore
REMEDY = "Delete the folder: it is made anew from the feature store."
DAMAGED = "packed clips are damaged"


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """One block per clip and modality: (T, D) float32 values, then T bytes that are 1 for a valid step, then padding.

    Attributes:
        names: of the modalities, sorted.
        clips: (N,) the row of each block's clip, ascending; within a clip modalities ascend.
        modalities: (N,) places in `names`; keys: (N,) of the feature store.
        steps, sizes, offsets: T, bytes, and first byte of each.
    """

    names: list[str]
    clips: NDArray[np.int64]
    modalities: NDArray[np.int8]
    keys: NDArray[np.bytes_]
    steps: NDArray[np.int64]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, widths: Mapping[str, int]) -> Blocks:
        """The blocks of the clips of a catalog, in the order of its rows."""
        names, first = sorted(widths), 0
        parts = [(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, KEY_TYPE))]
        for batch in table.select(["keys"]).to_batches(max_chunksize=ROWS_AT_ONCE):
            lists = pairs(batch["keys"])
            modality, key = pc.list_flatten(lists).flatten()
            clip = first + pc.list_parent_indices(lists).to_numpy().astype(np.int64)
            place = pc.index_in(modality, value_set=pa.array(names)).to_numpy().astype(np.int8)
            order = np.lexsort((place, clip))
            parts.append((clip[order], place[order], _fixed(key)[order]))
            first += len(batch)
        clips, modalities, keys = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        width = np.array([widths[name] for name in names], dtype=np.int64)[modalities]
        steps = table["num_steps"].to_numpy().astype(np.int64)[clips]
        sizes = steps * width * FLOAT_BYTES + _padded(steps)
        return cls(
            names=names,
            clips=clips,
            modalities=modalities,
            keys=keys,
            steps=steps,
            sizes=sizes,
            offsets=np.cumsum(sizes) - sizes,
        )


class ClipBytes(Protocol):
    """Where the bytes of packed clips are; threads may share it.

    Attributes:
        where: the file or object, for errors.
        remedy: what to do when it is damaged.
        at_once: how many are worth reading at the same time.
    """

    where: str
    remedy: str
    at_once: int

    def read(self, offset: int, size: int, *, again: bool) -> bytes:
        """A part; `again` where what this gave before was damaged. Raises OSError, or DataError: it cannot be read."""


class ClipFile:
    """`clips.bin` on this disk, open as long as somebody has this."""

    remedy = REMEDY
    at_once = 1

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def read(self, offset: int, size: int, *, again: bool) -> bytes:
        """A part of the file. Raises OSError."""
        return os.pread(self._file, size, offset)


class PackedFile:
    """An open folder of `pack`. Reading does not move anything, so threads may share it.

    Args:
        folder: of `pack`.
        catalog: `catalog.json`.
        clips: the clips, where they are not in the folder.
        remedy: what to do when the folder is damaged.

    Raises:
        DataError: the folder is incomplete or damaged.
    """

    def __init__(
        self, folder: Path, catalog: Mapping[str, Any], clips: ClipBytes | None = None, *, remedy: str = REMEDY
    ) -> None:
        self.folder, self.widths = folder, widths_of(catalog)
        self._classes = {name: position for position, name in enumerate(catalog["classes"])}
        try:
            content = pa.memory_map(str(folder / ROWS)).read_buffer()
            stored, checksum = (folder / CHECKSUM).read_bytes(), _in_hex(zlib.crc32(content))
            if stored != checksum:
                where = f"{folder / ROWS}: its checksum"
                raise DataError(DAMAGED, where=where, seen=checksum.decode(), allowed=repr(stored), remedy=remedy)
            self.rows = pa.ipc.open_file(content).read_all()
            self._clips = ClipFile(folder / CLIPS) if clips is None else clips
        except (OSError, pa.ArrowException) as error:
            raise DataError("cannot read packed clips", where=str(folder), seen=str(error), remedy=remedy) from error

    @property
    def at_once(self) -> int:
        """How many examples are worth reading at the same time."""
        return self._clips.at_once

    def example(self, place: int) -> Example:
        """That of a row.

        Raises:
            DataError: its bytes cannot be read, or are not those that were packed.
        """
        row = self.rows.slice(place, 1).to_pylist()[0]
        return example_of(row, self._encoded(row), self._classes)

    def _encoded(self, row: Mapping[str, Any]) -> dict[str, Encoded]:
        steps, names = row["num_steps"], sorted(name for name, _ in row["keys"])
        values = {name: steps * self.widths[name] * FLOAT_BYTES for name in names}
        blocks = self._blocks(row, [size + _padded(steps) for size in values.values()])
        return {
            name: Encoded(
                block[: values[name]].view(np.float32).reshape(steps, self.widths[name]),
                block[values[name] : values[name] + steps].view(np.bool_),
            )
            for name, block in zip(names, blocks, strict=True)
        }

    def _blocks(self, row: Mapping[str, Any], sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
        """The bytes of a clip by modality; read once more where they do not have their checksums."""
        ends = list(accumulate(sizes, initial=0))
        for again in (False, True):
            stored = memoryview(self._read(row, ends[-1], again=again))
            blocks = [stored[first:last] for first, last in pairwise(ends)]
            checksums = [zlib.crc32(block) for block in blocks]
            if checksums == row["checksums"]:
                return [np.frombuffer(block, dtype=np.uint8) for block in blocks]
        raise DataError(
            DAMAGED,
            where=f"{self._clips.where}: {row['clip_id']}",
            seen=f"{len(stored)} bytes, checksums {checksums}",
            allowed=f"{ends[-1]} bytes, checksums {row['checksums']}",
            remedy=self._clips.remedy,
        )

    def _read(self, row: Mapping[str, Any], size: int, *, again: bool) -> bytes:
        try:
            return self._clips.read(row["offset"], size, again=again)
        except OSError as error:
            where, remedy = f"{self._clips.where}: {row['clip_id']}", self._clips.remedy
            raise DataError("cannot read packed clips", where=where, seen=str(error), remedy=remedy) from error


class PackedExamples(OnDemand[Example]):
    """The examples of some rows of a `PackedFile`, each read whenever it is asked for."""

    def __init__(self, file: PackedFile, places: NDArray[np.int64]) -> None:
        super().__init__(file.example, places, at_once=file.at_once)
        self._file = file

    @property
    def folder(self) -> Path:
        """Where their file is."""
        return self._file.folder

    @property
    def datasets(self) -> list[str]:
        """The names of the datasets that they are from."""
        return sorted(pc.unique(self._file.rows["dataset"].take(pa.array(self.places))).to_pylist())

    def where(self, column: str, values: Collection[str]) -> PackedExamples:
        """Those with one of some values in a column of the catalog."""
        chosen = pc.is_in(self._file.rows[column], value_set=pa.array(sorted(values), pa.string()))
        return PackedExamples(self._file, self.places[chosen.to_numpy()[self.places]])


def read_examples(
    layout: Layout,
    *splits: str,
    memory_mb: float,
    address: str | None = None,
    shards: Mapping[str, Collection[str]] | None = None,
) -> Sequence[Example]:
    """The examples of some splits by clip id: in memory, or from a file where their features exceed `memory_mb`.

    With the address of a copy of all features in an object store the file is made of that, whatever its size; `shards`
    then names, by dataset, those that belong together (`RemoteFeatureStore`).

    Raises:
        DataError: there is no catalog, a feature is missing or does not fit its clip, or a shard is damaged.
        UnavailableError: the disk is full.
    """
    table, catalog = read_catalog(layout)
    if address is not None:
        return pack(layout, table, catalog, address=address, shards=shards).where("split", splits)
    of_splits = table.filter(pc.is_in(table["split"], value_set=pa.array(splits, pa.string())))
    if Blocks.of(of_splits, widths_of(catalog)).sizes.sum() <= memory_mb * BYTES_PER_MB:
        return load_examples(layout, *splits)
    return pack(layout, table, catalog).where("split", splits)


def packed_bytes(table: pa.Table, catalog: Mapping[str, Any]) -> int:
    """What `pack` writes for the rows of a catalog, without the rows themselves."""
    return int(Blocks.of(table, widths_of(catalog)).sizes.sum())


def pack(
    layout: Layout,
    table: pa.Table,
    catalog: Mapping[str, Any],
    *,
    address: str | None = None,
    shards: Mapping[str, Collection[str]] | None = None,
) -> PackedExamples:
    """The examples of a whole catalog, packed below `layout.packed` unless they are there already.

    Folders of other catalogs are removed: a process that still reads from one keeps its open file.

    Args:
        layout: the project's.
        table: the rows of `catalog.parquet`.
        catalog: `catalog.json`.
        address: of a copy of `data/features` in an object store, read instead of that folder.
        shards: dataset → those of the copy that belong together; all of them without.

    Raises:
        ConfigError: the address is none.
        DataError: the store fails, a feature is missing or does not fit its clip, or a shard is damaged.
        UnavailableError: the disk is full.
    """
    widths = widths_of(catalog)
    table = sorted_by(table, "clip_id")
    blocks = Blocks.of(table, widths)
    stores = {name: _store(layout, name, address, shards) for name in pc.unique(table["dataset"]).to_pylist()}
    folder = layout.packed / _name(catalog, stores)
    layout.packed.mkdir(parents=True, exist_ok=True)
    with alone_in(layout.packed):  # workers that start together pack once, and whatever else is there is old
        if not folder.is_dir():
            for other in layout.packed.iterdir():
                shutil.rmtree(other, ignore_errors=True)
            with atomic_dir(folder, synced=True) as beside:
                checksums = _write_clips(beside / CLIPS, table, blocks, stores, widths)
                _write_rows(beside, table, blocks, checksums)
    return PackedExamples(PackedFile(folder, catalog), np.arange(len(table)))


def _store(layout: Layout, dataset: str, address: str | None, shards: Mapping[str, Collection[str]] | None) -> Store:
    if address is None:
        return FeatureStore(layout.features(dataset))
    own = None if shards is None else shards.get(dataset, ())
    return RemoteFeatureStore(f"{address.rstrip('/')}/{dataset}", layout.partial("packed", dataset), own)


def _name(catalog: Mapping[str, Any], stores: Mapping[str, Store]) -> str:
    shards = {
        f"{name}/{modality}": [shard.name for shard in store.shards(modality)]
        for name, store in stores.items()
        for modality in store.modalities()
    }
    return fingerprint([FORMAT, catalog["sha256"], catalog["classes"], shards])[:16]


def _write_clips(
    path: Path, table: pa.Table, blocks: Blocks, stores: Mapping[str, Store], widths: Mapping[str, int]
) -> NDArray[np.uint32]:
    """Returns the checksum of each block."""
    checksums = np.zeros(len(blocks.sizes), dtype=np.uint32)
    datasets = table["dataset"].combine_chunks()
    written = np.zeros(len(blocks.sizes), dtype=bool)
    with path.open("wb") as stream, progress("clips into one file", len(blocks.sizes)) as advance:
        if size := int(blocks.sizes.sum()):
            os.posix_fallocate(stream.fileno(), 0, size)
        for dataset, store in sorted(stores.items()):
            of_dataset = _equal(datasets, dataset)[blocks.clips]
            for place, modality in enumerate(blocks.names):
                own = np.flatnonzero(of_dataset & (blocks.modalities == place))
                own = own[np.argsort(blocks.keys[own])]
                keys = blocks.keys[own]
                for key, encoded in store.scan(modality, width=widths[modality]) if own.size else ():
                    # Clips of equal content share their features.
                    first, last = (np.searchsorted(keys, key.encode(), side=side) for side in ("left", "right"))
                    for block in own[first:last]:
                        if encoded.valid.size != blocks.steps[block]:
                            clip = table["clip_id"][int(blocks.clips[block])].as_py()
                            check_steps(clip, modality, encoded, int(blocks.steps[block]))
                        checksums[block] = _write_block(stream.fileno(), encoded, int(blocks.offsets[block]))
                    written[own[first:last]] = True
                    if last > first:
                        advance(int(last - first))
    _check_complete(written, table, blocks, stores)
    return checksums


def _write_block(file: int, encoded: Encoded, offset: int) -> int:
    """Returns its checksum."""
    values = np.ascontiguousarray(encoded.values, dtype=np.float32)
    block = values.tobytes() + encoded.valid.tobytes().ljust(_padded(encoded.valid.size), b"\0")
    rest = memoryview(block)
    while rest:  # a call may write less than it was given, such as what fits before a limit
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written
    return zlib.crc32(block)


def _check_complete(written: NDArray[np.bool_], table: pa.Table, blocks: Blocks, stores: Mapping[str, Store]) -> None:
    missing = np.flatnonzero(~written)
    if missing.size:
        row = table.slice(int(blocks.clips[missing[0]]), 1).to_pylist()[0]
        modality, key = blocks.names[blocks.modalities[missing[0]]], blocks.keys[missing[0]].decode()
        raise DataError(
            f"{missing.size} of {written.size} keys are not in the feature store",
            where=f"{row['clip_id']}: {modality}",
            seen=f"{key}; {_looked_in(stores[row['dataset']], modality)}",
            remedy="Bring back a file that vanished (`dvc checkout data/features/*`), or run the features stage again",
        )


def _looked_in(store: Store, modality: str) -> str:
    """The files of a modality, in words."""
    names = [shard.name for shard in store.shards(modality)]
    shown = ", ".join(names[:SHARDS_SHOWN]) + (f" and {len(names) - SHARDS_SHOWN} more" if names[SHARDS_SHOWN:] else "")
    place = store.address if isinstance(store, RemoteFeatureStore) else store.folder
    return f"{place}/{modality} has {len(names)} files" + (f": {shown}" if names else "")


def _write_rows(folder: Path, table: pa.Table, blocks: Blocks, checksums: NDArray[np.uint32]) -> None:
    """The rows of the catalog with the first byte of each clip and the checksums of its blocks; and their own."""
    bytes_before = np.concatenate([[0], np.cumsum(blocks.sizes)])
    first_blocks = np.searchsorted(blocks.clips, np.arange(len(table) + 1))
    of_clips = pa.ListArray.from_arrays(pa.array(first_blocks, pa.int32()), pa.array(checksums))
    table = table.append_column("offset", pa.array(bytes_before[first_blocks[:-1]], pa.int64()))
    table = table.append_column("checksums", of_clips)
    with pa.ipc.new_file(str(folder / ROWS), table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS_AT_ONCE)
    (folder / CHECKSUM).write_bytes(_in_hex(zlib.crc32(pa.memory_map(str(folder / ROWS)).read_buffer())))


def _padded(steps: Any) -> Any:
    """Bytes of the validity of so many steps, a number or an array."""
    return -(-steps // ALIGNED) * ALIGNED


def _in_hex(checksum: int) -> bytes:
    return f"{checksum:08x}".encode()


def _equal(column: pa.Array, value: str) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = pc.equal(column, value).to_numpy(zero_copy_only=False)
    return mask


def _fixed(keys: pa.Array) -> NDArray[np.bytes_]:
    """Keys as bytes of one length: hashes in hex (`feature_key`)."""
    fixed = keys.cast(pa.binary()).cast(pa.binary(KEY_HEX))
    return np.frombuffer(fixed.buffers()[1], dtype=KEY_TYPE)[fixed.offset : fixed.offset + len(fixed)]
