"""What is read often and memory need not hold: a list of any items, and the rows of an array, in a temporary file."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from typing import IO, Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from components.contracts.room import full_disk_named
from components.runtime.on_demand import OnDemand

Item = TypeVar("Item")

# What is less stays in memory.
MEMORY_BYTES = 1 << 20


class Kept(Protocol[Item]):
    """A list, in memory or not."""

    def append(self, item: Item, /) -> None:
        """Adds an item at the end."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...


class Spilled(Sequence[Item]):
    """Items in order, of which only places are in memory. The file has no name, so it goes with the process.

    Not for threads: reading moves the file. Raises UnavailableError where the disk for temporary files is full.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # closed with the object
        self._starts = array("q", [0])
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Adds an item at the end."""
        with full_disk_named():
            self._file.seek(self._starts[-1])
            pickle.dump(item, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._starts.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        with full_disk_named():
            self._file.seek(self._starts[place])  # writes what is buffered
        item: Item = pickle.load(self._file)
        return item


def kept_like(items: Sequence[Any]) -> Kept[Any]:
    """An empty list for what is kept of some items: on disk where these are made on demand, else in memory."""
    return Spilled() if isinstance(items, OnDemand) else []


class SpilledRows:
    """The rows of one array, which grows at its end. The file has no name, so it goes with the process.

    Raises UnavailableError where the disk for temporary files is full.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # what is not in the file
        self._file: IO[bytes] | None = None
        self._kind: np.dtype[Any] | None = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows (n, …) of the shape and the type of the first ones."""
        if self._kind is None:
            self._kind, self._shape = rows.dtype, rows.shape[1:]
        if (rows.dtype, rows.shape[1:]) != (self._kind, self._shape):
            raise ValueError(f"rows of {rows.shape[1:]} {rows.dtype} among those of {self._shape} {self._kind}")
        self._count += len(rows)
        self._rest += rows.tobytes()
        if len(self._rest) > MEMORY_BYTES:
            self._write()

    def __len__(self) -> int:
        return self._count

    def array(self) -> NDArray[Any]:
        """All rows (N, …), read only; of many the file, mapped into memory. Nothing can be added afterwards."""
        if not self._count or self._kind is None:
            return np.empty((0, *self._shape), self._kind)
        shape = (self._count, *self._shape)
        if self._file is None:
            return np.frombuffer(bytes(self._rest), self._kind).reshape(shape)
        self._write()
        return np.asarray(np.memmap(self._file, self._kind, mode="r", shape=shape))

    def _write(self) -> None:
        with full_disk_named():
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the object
            self._file.write(self._rest)
            self._file.flush()
        self._rest.clear()
