"""How many pieces of work a worker takes at a time.

Handing work out costs about the same however much it is, so a worker should take much; and all should end together, so
none should be left with much when the others have finished. Guided self-scheduling (Polychronopoulos and Kuck 1987)
hands out a share of what is left: large chunks first, smaller ones towards the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# A chunk is at most the work that is left by so many times the workers. Two where a worker has its next chunk at hand
# while it works on one.
CHUNKS_AHEAD = 2


def chunk_size(left: int, workers: int, *, least: int, most: int) -> int:
    """How many of `left` pieces the next chunk has: between `least` and `most`, and never more than are left."""
    return min(left, max(least, min(most, -(-left // (CHUNKS_AHEAD * workers)))))


def chunks(items: Sequence[Item], workers: int, *, least: int, most: int) -> Iterator[Sequence[Item]]:
    """The items in order, in chunks of `chunk_size`."""
    first = 0
    while first < len(items):
        size = chunk_size(len(items) - first, workers, least=least, most=most)
        yield items[first : first + size]
        first += size
