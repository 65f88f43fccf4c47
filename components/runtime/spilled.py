"""A list whose items are in a temporary file, for results that are read often and that memory need not hold."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Sequence
from typing import TypeVar, overload

from components.contracts.room import full_disk_named

Item = TypeVar("Item")

# What is less stays in memory.
MEMORY_BYTES = 32 << 20


class Spilled(Sequence[Item]):
    """Items in order, of which only places are in memory. The file has no name, so it goes with the process.

    Not for threads: reading moves the file. Raises UnavailableError where the disk for temporary files is full.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # closed with the object
        self._starts = [0]
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
        self._file.seek(self._starts[place])
        item: Item = pickle.load(self._file)
        return item
