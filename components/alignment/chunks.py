"""Divides work into chunks for a pool of workers.

A chunk costs about the same to hand out whatever its size, so chunks should be large; and all workers should finish
together, so the last chunks should be small. Guided self-scheduling (Polychronopoulos and Kuck 1987) hands out a share
of the remaining work: large chunks first, smaller ones towards the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# A chunk is at most the remaining work divided by this many times the workers: two, where a worker holds its next chunk
# while it works on one.
CHUNKS_AHEAD = 2


def chunks(items: Sequence[Item], workers: int, *, most: int) -> Iterator[Sequence[Item]]:
    """The items in order, at most `most` at a time, and fewer when few remain per worker."""
    first = 0
    while first < len(items):
        share = -(-(len(items) - first) // (CHUNKS_AHEAD * workers))
        last = first + min(most, share)
        yield items[first:last]
        first = last
