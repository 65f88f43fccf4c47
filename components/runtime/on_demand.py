"""A sequence whose items are made when they are asked for, so that it is as long as it likes and takes no memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class OnDemand(Sequence[Item]):
    """The items that `make` gives for some places, in their order; made anew each time. A slice makes none.

    Args:
        make: a place → its item. Threads may call it at the same time.
        places: (N,) int64.
    """

    def __init__(self, make: Callable[[int], Item], places: NDArray[np.int64]) -> None:
        self.make, self.places = make, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> OnDemand[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | OnDemand[Item]:
        if isinstance(index, slice):
            return OnDemand(self.make, self.places[index])
        return self.make(int(self.places[index]))


def some_of(items: Sequence[Item], keep: Callable[[Item], bool]) -> Sequence[Item]:
    """The items that `keep` accepts, in order; of items that are made on demand none stays in memory."""
    if isinstance(items, OnDemand):
        return OnDemand(items.make, items.places[np.fromiter(map(keep, items), dtype=bool, count=len(items))])
    return [item for item in items if keep(item)]
