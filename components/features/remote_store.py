"""The feature shards of one dataset in an object store, for going through them once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from components.contracts.errors import DataError
from components.datasets import remote
from components.features.base import Encoded
from components.features.store import FeatureStore


class RemoteFeatureStore:
    """A copy of a dataset's folder of features below an address; one shard at a time is on this disk.

    Args:
        address: `s3://bucket/prefix`; server and keys come from the environment (`datasets/remote.py`).
        scratch: a folder for the shard that is being read.
        shards: `modality/shard-….parquet` of those that belong together, as a manifest has them; all without.

    Raises:
        ConfigError: not such an address.
        DataError: the store cannot be reached, denies access, or lacks one of `shards`.
    """

    def __init__(self, address: str, scratch: Path, shards: Collection[str] | None = None) -> None:
        self.address, self._scratch = address, scratch
        self._place = remote.place_of(address, where="runtime.features")
        objects = {item.name: item for item in remote.listing(self._place)}
        if missing := sorted(set(shards or ()) - objects.keys()):
            raise DataError(
                f"{len(missing)} of {len(shards or ())} feature shards are not in the object store",
                where=address,
                seen=missing[0],
                remedy="Run again: what is missing is copied there when a training starts.",
            )
        named = objects if shards is None else {name: objects[name] for name in shards}
        self._objects = {PurePosixPath(name): item for name, item in named.items()}

    def modalities(self) -> tuple[str, ...]:
        """The modalities that have a shard, by name."""
        return tuple(sorted({path.parts[0] for path in self._objects if len(path.parts) == 2}))

    def shards(self, modality: str) -> list[PurePosixPath]:
        """The shards of a modality, by name."""
        return sorted(path for path in self._objects if path.match(f"{modality}/shard-*.parquet"))

    def scan(self, modality: str, *, width: int | None = None) -> Iterator[tuple[str, Encoded]]:
        """Every stored clip, shard by shard; see `FeatureStore.scan`, whose check also notices a damaged transfer.

        Raises:
            DataError: the store fails, a shard is damaged, or the features have a different width.
        """
        for shard in self.shards(modality):
            local = self._scratch / shard
            try:
                remote.fetch(self._place, local, self._objects[shard])
                yield from FeatureStore(self._scratch).scan(modality, width=width)
            except DataError as error:
                raise error.at(f"{self.address}/{shard}") from error
            finally:
                local.unlink(missing_ok=True)
