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
* **Memory** of a process: the row group or the clips in use, and some 100 bytes per clip for the index; the catalog's
  rows are mapped, not loaded. While packing, 64 bytes per clip of one dataset more.
* **Disk**: four bytes per feature, so about what the stores hold uncompressed. Nodes of a training that share an object
  store may leave the file there (`runtime.cache_mb`, `training/nodes/materials.py`).

A folder of this kind is a cache: it is named by the catalog and the shards (whose names are the hashes of their bytes),
appears complete or not at all, and may be deleted.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from components.catalog.examples import Example, check_steps, example_of, load_examples, read_catalog, widths_of
from components.catalog.rows import PAIRS
from components.contracts.atomic import atomic_dir
from components.contracts.errors import DataError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.contracts.order import sorted_by
from components.features.base import Encoded
from components.features.remote_store import RemoteFeatureStore
from components.features.store import FLOAT_BYTES, KEY_HEX, FeatureStore
from components.runtime.alone import alone_in
from components.runtime.on_demand import OnDemand
from components.runtime.progress import progress

CLIPS, ROWS = "clips.bin", "rows.arrow"
# Values of a modality begin at a multiple of this, as their type needs.
ALIGNED = FLOAT_BYTES
ROWS_AT_ONCE = 65_536
BYTES_PER_MB = 1_000_000
Store = FeatureStore | RemoteFeatureStore
REMEDY = "Delete the folder: it is made anew from the feature store."


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """One block per clip and modality: (T, D) float32 values, then T bytes that are 1 for a valid step, then padding.

    Attributes:
        clips: the row of each block's clip, ascending; within a clip modalities ascend.
        modalities: (N,) text; keys: (N,) of the feature store; both Arrow arrays.
        steps, sizes, offsets: T, bytes, and first byte of each.
    """

    clips: NDArray[np.int64]
    modalities: pa.Array
    keys: pa.Array
    steps: NDArray[np.int64]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, widths: Mapping[str, int]) -> Blocks:
        """The blocks of the clips of a catalog, in the order of its rows."""
        lists = table["keys"].cast(PAIRS).combine_chunks()
        pairs = pc.list_flatten(lists)
        long = pa.table(
            {"clip": pc.list_parent_indices(lists), "modality": pairs.field("key"), "key": pairs.field("value")}
        ).sort_by([("clip", "ascending"), ("modality", "ascending")])
        clips = long["clip"].to_numpy().astype(np.int64)
        modalities = long["modality"].combine_chunks()
        width = np.zeros(len(long), dtype=np.int64)
        for name in pc.unique(modalities).to_pylist():
            width[_equal(modalities, name)] = widths[name]
        steps = table["num_steps"].to_numpy().astype(np.int64)[clips]
        sizes = steps * width * FLOAT_BYTES + -(-steps // ALIGNED) * ALIGNED
        offsets = np.cumsum(sizes) - sizes
        return cls(
            clips=clips,
            modalities=modalities,
            keys=long["key"].combine_chunks(),
            steps=steps,
            sizes=sizes,
            offsets=offsets,
        )


class PackedFile:
    """An open folder of `pack`. Reading does not move anything, so threads may share it.

    Args:
        folder: of `pack`.
        catalog: `catalog.json`.
        read: (offset, bytes) → that part of the clips, where they are not in the folder.
    """

    def __init__(
        self, folder: Path, catalog: Mapping[str, Any], read: Callable[[int, int], bytes] | None = None
    ) -> None:
        self.folder, self.widths = folder, widths_of(catalog)
        self._classes = {name: position for position, name in enumerate(catalog["classes"])}
        try:
            table = pa.ipc.open_file(pa.memory_map(str(folder / ROWS))).read_all()
            self._read = _reader(folder / CLIPS) if read is None else read
        except (OSError, pa.ArrowException) as error:
            raise DataError("cannot read packed clips", where=str(folder), seen=str(error), remedy=REMEDY) from error
        self._offsets = table["offset"].to_numpy()
        self.rows = table.drop_columns(["offset"])

    def example(self, place: int) -> Example:
        """That of a row."""
        row = self.rows.slice(place, 1).to_pylist()[0]
        return example_of(row, self._encoded(row, int(self._offsets[place])), self._classes)

    def _encoded(self, row: Mapping[str, Any], offset: int) -> dict[str, Encoded]:
        steps, names = row["num_steps"], sorted(name for name, _ in row["keys"])
        masks = -(-steps // ALIGNED) * ALIGNED
        values = {name: steps * self.widths[name] * FLOAT_BYTES for name in names}
        size = sum(values.values()) + masks * len(names)
        stored = np.frombuffer(self._read(offset, size), dtype=np.uint8)
        if stored.size != size:
            raise DataError("packed clips are cut off", where=f"{self.folder}: {row['clip_id']}", remedy=REMEDY)
        encoded, first = {}, 0
        for name in names:
            last = first + values[name]
            encoded[name] = Encoded(
                stored[first:last].view(np.float32).reshape(steps, self.widths[name]),
                stored[last : last + steps].view(np.bool_),
            )
            first = last + masks
        return encoded


def _reader(path: Path) -> Callable[[int, int], bytes]:
    """Reads parts of a file, which stays open as long as somebody has this."""
    file = os.open(path, os.O_RDONLY)

    def read(offset: int, size: int) -> bytes:
        return os.pread(file, size, offset)

    weakref.finalize(read, os.close, file)
    return read


class PackedExamples(OnDemand[Example]):
    """The examples of some rows of a `PackedFile`, each read whenever it is asked for."""

    def __init__(self, file: PackedFile, places: NDArray[np.int64]) -> None:
        super().__init__(file.example, places)
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
            with atomic_dir(folder) as beside:
                _write_clips(beside / CLIPS, table, blocks, stores, widths)
                _write_rows(beside / ROWS, table, blocks)
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
    return fingerprint([catalog["sha256"], catalog["classes"], shards])[:16]


def _write_clips(
    path: Path, table: pa.Table, blocks: Blocks, stores: Mapping[str, Store], widths: Mapping[str, int]
) -> None:
    datasets = table["dataset"].combine_chunks()
    written = np.zeros(len(blocks.sizes), dtype=bool)
    with path.open("wb") as stream, progress("clips into one file", len(blocks.sizes)) as advance:
        if size := int(blocks.sizes.sum()):
            os.posix_fallocate(stream.fileno(), 0, size)
        for dataset, store in sorted(stores.items()):
            of_dataset = _equal(datasets, dataset)[blocks.clips]
            for modality in pc.unique(blocks.modalities).to_pylist():
                own = np.flatnonzero(of_dataset & _equal(blocks.modalities, modality))
                keys = _fixed(blocks.keys.take(pa.array(own)))
                order = np.argsort(keys)
                own, keys = own[order], keys[order]
                for key, encoded in store.scan(modality, width=widths[modality]) if own.size else ():
                    # Clips of equal content share their features.
                    first, last = (np.searchsorted(keys, key.encode(), side=side) for side in ("left", "right"))
                    for block in own[first:last]:
                        if encoded.valid.size != blocks.steps[block]:
                            clip = table["clip_id"][int(blocks.clips[block])].as_py()
                            check_steps(clip, modality, encoded, int(blocks.steps[block]))
                        _write_block(stream.fileno(), encoded, int(blocks.offsets[block]))
                    written[own[first:last]] = True
                    if last > first:
                        advance(int(last - first))
    _check_complete(written, table, blocks)


def _write_block(file: int, encoded: Encoded, offset: int) -> None:
    values = np.ascontiguousarray(encoded.values, dtype=np.float32)
    rest = memoryview(values.tobytes() + encoded.valid.tobytes())
    while rest:  # a call may write less than it was given, such as what fits before a limit
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _check_complete(written: NDArray[np.bool_], table: pa.Table, blocks: Blocks) -> None:
    missing = np.flatnonzero(~written)
    if missing.size:
        clip = table["clip_id"][int(blocks.clips[missing[0]])].as_py()
        raise DataError(
            f"{missing.size} of {written.size} keys are not in the feature store",
            where=f"{clip}: {blocks.modalities[int(missing[0])].as_py()}",
            seen=blocks.keys[int(missing[0])].as_py(),
            remedy="Run the features stage again",
        )


def _write_rows(path: Path, table: pa.Table, blocks: Blocks) -> None:
    """The rows of the catalog with the first byte of each clip."""
    bytes_before = np.concatenate([[0], np.cumsum(blocks.sizes)])
    offsets = bytes_before[np.searchsorted(blocks.clips, np.arange(len(table)))]
    table = table.append_column("offset", pa.array(offsets, pa.int64()))
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS_AT_ONCE)


def _equal(column: pa.Array, value: str) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = pc.equal(column, value).to_numpy(zero_copy_only=False)
    return mask


def _fixed(keys: pa.Array) -> NDArray[np.bytes_]:
    """Keys as bytes of one length: hashes in hex (`feature_key`)."""
    fixed = keys.cast(pa.binary()).cast(pa.binary(KEY_HEX))
    return np.frombuffer(fixed.buffers()[1], dtype=f"S{KEY_HEX}")[fixed.offset : fixed.offset + len(fixed)]
