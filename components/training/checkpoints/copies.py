"""Copies of checkpoints in an object store, from which a training goes on where its machine and disk are gone.

A copy is two objects, of which the state comes last: where that exists, the checkpoint is whole. A checkpoint is
written to this disk first, so a store that is slow or away costs no more than its copy.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from components.contracts.atomic import atomic_dir
from components.datasets import remote
from components.training.checkpoints.state import STATE, TENSORS


class Copies:
    """The copies of one training.

    Args:
        address: `s3://bucket/prefix`; server and keys come from the environment (`datasets/remote.py`).
        name: of the training: a prefix of its own below the address.

    Raises:
        ConfigError: not such an address.
    """

    def __init__(self, address: str, name: str) -> None:
        self.address = f"{address.rstrip('/')}/{name}"
        self._place = remote.place_of(self.address, where="runtime.checkpoints")

    def names(self) -> list[str]:
        """The checkpoints whose copy is complete, the newest first. Raises DataError: the store fails."""
        paths = (PurePosixPath(item.name) for item in remote.listing(self._place))
        return sorted((path.parts[0] for path in paths if path.parts[1:] == (STATE,)), reverse=True)

    def put(self, folder: Path) -> None:
        """Copies a checkpoint. Raises DataError: the store fails."""
        for file in (TENSORS, STATE):
            remote.put(folder / file, self._place, f"{folder.name}/{file}")

    def fetch(self, folder: Path) -> None:
        """Brings a checkpoint back under its name. Raises DataError: the store fails, or does not have it."""
        objects = {item.name: item for item in remote.listing(self._place / folder.name)}
        with atomic_dir(folder) as beside:
            for file in (TENSORS, STATE):
                if file in objects:
                    remote.fetch(self._place / folder.name, beside / file, objects[file])

    def drop(self, name: str) -> None:
        """Removes a copy, its state first. Raises DataError: the store fails."""
        for file in (STATE, TENSORS):
            remote.remove(self._place, f"{name}/{file}")

    def clear(self) -> None:
        """Removes all copies of the training. Raises DataError: the store fails."""
        for name in {PurePosixPath(item.name).parts[0] for item in remote.listing(self._place)}:
            self.drop(name)
