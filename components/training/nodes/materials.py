"""What the workers of a training read, in an object store, for nodes without the project's folder.

    <store>/features/<dataset>/<modality>/shard-….parquet    of all trainings, named by the hash of their bytes
    <store>/trainings/<name>/files/…                         the catalog, the transform, what it starts from
    <store>/trainings/<name>/clips.bin                       all clips in one file, where nodes do not keep all of them
    <store>/trainings/<name>/manifest.json                   written last: which files and shards belong together

`publish` puts there what is missing; whoever reads goes by the manifest, so a copy that was interrupted, or that the
next training has begun, is never seen. A node brings the files once, for all of its workers, and keeps those of one
training; the shards go one by one into the file that training reads (`catalog/packed.py`), which the next training of
the same features takes over.

Where that file would have more than `runtime.cache_mb`, it is made once, on the machine with the project, and stays in
the store. A worker reads each clip from there, a part of the object of exactly its bytes, and its node keeps the clips
that were used last. The order is the permutation of all clips all the same; so with room for a share c of them
c + (1 − c) ln(1 − c) are found on the node in an epoch (0.15 with c = 0.5, 0.67 with c = 0.9, and all with c = 1), the
others are read again: that is what the disk saves.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.catalog.examples import read_catalog
from components.catalog.packed import (
    BYTES_PER_MB,
    CHECKSUM,
    CLIPS,
    ROWS,
    PackedExamples,
    PackedFile,
    pack,
    packed_bytes,
)
from components.contracts.atomic import atomic_dir
from components.contracts.errors import DataError
from components.contracts.fingerprint import file_sha256, fingerprint
from components.contracts.layout import Layout
from components.datasets import remote
from components.features.store import FeatureStore
from components.runtime.alone import alone_in
from components.runtime.disk_cache import DiskCache
from components.runtime.node_folder import node_folder

SETTING = "runtime.store"
FEATURES, TRAININGS, FILES, MANIFEST = "features", "trainings", "files", "manifest.json"
TRANSFORM, START = "transform", "start"
# The rows of the packed clips among the files, and what a node keeps of the clips.
PACKED, CACHE = "packed", "cache"
# A clip of 100 kB is waited for longer than it takes to be sent.
CLIPS_AT_ONCE = 16
# Nodes bring the files of one training after the other here.
NODE_PREFIX = "training-"


@dataclass(frozen=True, kw_only=True)
class NodeMaterials:
    """What one training reads, as it is in the store. It holds addresses only, so it travels to workers cheaply.

    Attributes:
        store: `s3://bucket/prefix`.
        name: of the training, below the store.
        sha256: of the manifest's content.
    """

    store: str
    name: str
    sha256: str

    @property
    def features(self) -> str:
        """The address of the feature shards."""
        return f"{self.store}/{FEATURES}"

    def bring(self) -> Path:
        """A folder of this machine that stands for the project's: with `data/catalog`, `transform` and `start`.

        The first process of a node brings them; what it has of another training goes.

        Raises:
            DataError: the store fails, or what it has is not what was put there.
            UnavailableError: the disk is full, or the folder for it is not this user's own.
        """
        base = node_folder()
        root = base / f"{NODE_PREFIX}{self.name}"
        with alone_in(base):
            if not _is_whole(root, self.sha256):
                with atomic_dir(root) as beside:
                    self._fetch(beside)
                    _leave_packed(base, beside)
        return root

    def shards(self) -> dict[str, list[str]]:
        """Dataset → the shards of its features, `modality/shard-….parquet`. Raises as `bring`."""
        described = json.loads((self.bring() / MANIFEST).read_text(encoding="utf-8"))
        return {dataset: sorted(sizes) for dataset, sizes in described["features"].items()}

    def packed_away(self, cache_mb: float) -> PackedExamples | None:
        """The clips of the catalog as they are in the store, through a cache of the node; None where they are not.

        Raises:
            DataError: the store fails.
        """
        root = self.bring()
        if PACKED not in json.loads((root / MANIFEST).read_text(encoding="utf-8")):
            return None
        cache = DiskCache(Layout(root).state / CACHE, int(cache_mb * BYTES_PER_MB))
        clips = ClipObject(f"{self.store}/{TRAININGS}/{self.name}", cache)
        remedy = f"Delete {root} and run again: the node brings it anew"
        file = PackedFile(root / PACKED, read_catalog(Layout(root))[1], clips, remedy=remedy)
        return PackedExamples(file, np.arange(len(file.rows)))

    def _fetch(self, folder: Path) -> None:
        place = _place(self.store, TRAININGS, self.name)
        content = remote.read(place, MANIFEST)
        (folder / MANIFEST).write_bytes(content)
        objects = {item.name: item for item in remote.listing(place / FILES)}
        for name, sha256 in _read(content, self.sha256, str(place))["files"].items():
            if name not in objects:
                raise _changed(f"{self.store}/{TRAININGS}/{self.name}/{FILES}/{name}", "no such object", sha256)
            remote.fetch(place / FILES, folder / name, objects[name])
            if (seen := file_sha256(folder / name)) != sha256:
                raise _changed(f"{self.store}/{TRAININGS}/{self.name}/{FILES}/{name}", seen, sha256)


class ClipObject:
    """`clips.bin` below an address of the store, through a cache of the node; see `ClipBytes`.

    Raises:
        DataError: the store fails, or does not have it.
    """

    at_once = CLIPS_AT_ONCE
    remedy = "Delete that object and run again: the machine with the project puts it there anew"

    def __init__(self, address: str, cache: DiskCache) -> None:
        self.where = f"{address}/{CLIPS}"
        self._object, self._cache = remote.ObjectRanges(remote.place_of(address, where=SETTING), CLIPS), cache

    def read(self, offset: int, size: int, *, again: bool) -> bytes:
        """A part of the object. Raises DataError: the store fails."""
        if again:
            self._cache.drop(offset)
        return self._cache.get(offset, size, lambda: self._object.read(offset, size))


def publish(
    layout: Layout,
    store: str,
    name: str,
    *,
    transform: Path,
    start: Path | None,
    datasets: Iterable[str],
    address: str | None = None,
    cache_mb: float = math.inf,
) -> NodeMaterials:
    """Puts into the store what it lacks of a training, and its manifest last.

    Args:
        layout: of the project, with the catalog and, without an address, the features of `datasets`.
        store: `s3://bucket/prefix`.
        name: of the training; equal names have equal content.
        transform: the folder of its transform.
        start: the folder of the version that it starts from.
        datasets: of the catalog.
        address: of a copy of `data/features` in an object store, where workers read them; no shards are put there.
        cache_mb: `runtime.cache_mb`; clips that take more are put there as one file, in place of shards.

    Raises:
        ConfigError: not such an address.
        DataError: the store fails, or a shard is damaged here.
        UnavailableError: the disk is full.
    """
    store = store.rstrip("/")
    place = _place(store, TRAININGS, name)
    files = dict(_files(layout.catalog, "data/catalog"))
    files |= _files(transform, TRANSFORM) | ({} if start is None else _files(start, START))
    names = sorted(datasets) if address is None else []
    packed = _packed(layout, address, cache_mb)
    if packed is not None:
        files |= {f"{PACKED}/{file}": packed.folder / file for file in (ROWS, CHECKSUM)}
        names = []
        _put_clips(packed, place)
    features = {dataset: _shards(layout, dataset) for dataset in names}
    described: dict[str, Any] = {
        "files": {name: file_sha256(path) for name, path in sorted(files.items())},
        "features": features,
        **({} if packed is None else {PACKED: packed.folder.name}),
    }
    _put_features(layout, store, features)
    with ThreadPoolExecutor(remote.THREADS) as pool:
        list(pool.map(lambda item: remote.put(item[1], place / FILES, item[0]), files.items()))
    content = json.dumps(described, sort_keys=True).encode()
    remote.write(content, place, MANIFEST)
    return NodeMaterials(store=store, name=name, sha256=fingerprint(described))


def forget(layout: Layout, store: str, name: str) -> None:
    """Removes a training that is done from the store, and the shards that neither the project nor another training has;
    what cannot be removed is said, since nothing needs it."""
    store = store.rstrip("/")
    try:
        remote.remove(_place(store, TRAININGS), name)
        kept = set(_names(_of_project(layout)))
        for manifest in _manifests(store):
            kept |= set(_names(manifest["features"]))
        place = _place(store, FEATURES)
        for item in remote.listing(place):
            if item.name not in kept:
                remote.remove(place, item.name)
    except DataError as error:
        print(f"train: what a training that is done read stays in {store}: {error}", file=sys.stderr)


def _packed(layout: Layout, address: str | None, cache_mb: float) -> PackedExamples | None:
    """The packed clips, made where nodes are not to keep all of them; None where they are."""
    table, catalog = read_catalog(layout)
    if packed_bytes(table, catalog) <= cache_mb * BYTES_PER_MB:
        return None
    return pack(layout, table, catalog, address=address)


def _put_clips(packed: PackedExamples, place: Path) -> None:
    """Puts the packed clips there, each looked at once; a second training of the same run finds them."""
    clips = packed.folder / CLIPS
    if {CLIPS: clips.stat().st_size} != {item.name: item.size for item in remote.listing(place) if item.name == CLIPS}:
        deque(packed, maxlen=0)
        remote.put(clips, place, CLIPS)


def _put_features(layout: Layout, store: str, features: Mapping[str, Mapping[str, int]]) -> None:
    """Puts the shards that the store lacks, or has of a different size, such as one that was cut off."""
    place = _place(store, FEATURES)
    sizes = {item.name: item.size for item in remote.listing(place)}
    missing = [name for name, size in _names(features).items() if sizes.get(name) != size]
    for dataset, modality, _ in (name.split("/") for name in missing):
        FeatureStore(layout.features(dataset)).check(modality)  # each file is looked at once
    with ThreadPoolExecutor(remote.THREADS) as pool:
        list(pool.map(lambda name: remote.put(layout.features(".") / name, place, name), missing))


def _names(features: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """`dataset/modality/shard-….parquet` → bytes."""
    return {f"{dataset}/{shard}": size for dataset, shards in features.items() for shard, size in shards.items()}


def _of_project(layout: Layout) -> dict[str, dict[str, int]]:
    folder = layout.features(".")
    datasets = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return {dataset: _shards(layout, dataset) for dataset in datasets}


def _shards(layout: Layout, dataset: str) -> dict[str, int]:
    """`modality/shard-….parquet` → bytes, of a dataset of the project."""
    store = FeatureStore(layout.features(dataset))
    shards = [shard for modality in store.modalities() for shard in store.shards(modality)]
    return {shard.relative_to(store.folder).as_posix(): shard.stat().st_size for shard in shards}


def _files(folder: Path, below: str) -> dict[str, Path]:
    """Name → path, of every file of a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {f"{below}/{path.relative_to(folder).as_posix()}": path for path in found}


def _manifests(store: str) -> list[dict[str, Any]]:
    place = _place(store, TRAININGS)
    names = (item.name for item in remote.listing(place))
    return [json.loads(remote.read(place, name)) for name in names if name.split("/")[1:] == [MANIFEST]]


def _read(content: bytes, sha256: str, where: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(content)
    if (seen := fingerprint(described)) != sha256:
        raise _changed(where, seen, sha256)
    return described


def _is_whole(root: Path, sha256: str) -> bool:
    """Whether the files of a training are here, as a folder that appeared at once."""
    path = root / MANIFEST
    return path.is_file() and fingerprint(json.loads(path.read_text(encoding="utf-8"))) == sha256


def _leave_packed(base: Path, folder: Path) -> None:
    """Removes what the node has of other trainings, all but the packed clips: `catalog/packed.py` knows those again."""
    for other in base.glob(f"{NODE_PREFIX}*"):
        packed = Layout(other).packed
        if packed.is_dir() and not Layout(folder).packed.exists():
            Layout(folder).packed.parent.mkdir(parents=True)
            os.replace(packed, Layout(folder).packed)
        shutil.rmtree(other, ignore_errors=True)


def _place(store: str, *parts: str) -> Path:
    return remote.place_of(store, where=SETTING).joinpath(*parts)


def _changed(where: str, seen: str, allowed: str) -> DataError:
    return DataError(
        "what a training reads is not in the object store as it was put there",
        where=where,
        seen=seen,
        allowed=allowed,
        remedy="Run again; give every project a prefix of its own",
    )
