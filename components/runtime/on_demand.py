"""A sequence whose items are made when they are asked for, so that it is as long as it likes and takes no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class OnDemand(Sequence[Item]):
    """The items that `make` gives for some places, in their order; made anew each time. A slice makes none.

    Args:
        make: a place → its item. Threads may call it at the same time.
        places: (N,) int64.
        at_once: how many are made at the same time, where each is waited for, as for an object store.
    """

    def __init__(self, make: Callable[[int], Item], places: NDArray[np.int64], *, at_once: int = 1) -> None:
        self.make, self.places, self.at_once = make, places, at_once

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Item]:
        for first in range(0, len(self), self.at_once):
            yield from some_at(self, range(first, min(first + self.at_once, len(self))))

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> OnDemand[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | OnDemand[Item]:
        if isinstance(index, slice):
            return OnDemand(self.make, self.places[index], at_once=self.at_once)
        return self.make(int(self.places[index]))


def some_at(items: Sequence[Item], indices: Sequence[int]) -> list[Item]:
    """The items at some indices, in that order; those that are waited for are made at the same time."""
    threads = min(at_once_of(items), len(indices))
    if threads < 2:
        return [items[index] for index in indices]
    with ThreadPoolExecutor(threads, thread_name_prefix="items") as pool:
        return list(pool.map(items.__getitem__, indices))


def at_once_of(items: Sequence[object]) -> int:
    """How many items are worth asking for at the same time."""
    return items.at_once if isinstance(items, OnDemand) else 1


def some_of(items: Sequence[Item], keep: Callable[[Item], bool]) -> Sequence[Item]:
    """The items that `keep` accepts, in order; of items that are made on demand none stays in memory."""
    if isinstance(items, OnDemand):
        kept = np.fromiter(map(keep, items), dtype=bool, count=len(items))
        return OnDemand(items.make, items.places[kept], at_once=items.at_once)
    return [item for item in items if keep(item)]
