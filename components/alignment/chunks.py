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


def chunks(items: Sequence[Item], workers: int, *, most: int) -> Iterator[Sequence[Item]]:
    """The items in order, `most` at a time, and fewer when few are left for so many workers."""
    first = 0
    while first < len(items):
        share = -(-(len(items) - first) // (CHUNKS_AHEAD * workers))
        last = first + min(most, share)
        yield items[first:last]
        first = last
