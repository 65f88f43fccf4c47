"""Batches made by a thread while the step before them runs.

What is in a batch is a pure function of its place in the order (`order.py`, `items.py`), so a batch that is made ahead
has the bits of one that is made in time, an interrupted training that made some in vain loses nothing, and no random
state is read. At most `ahead` batches of one worker are in memory beside the one that is learned from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from components.catalog.cases import Case
from components.runtime.on_demand import some_at
from components.training.learner import Share
from components.training.samples.items import Augment, Batch, collate
from components.training.samples.order import GlobalBatch, shard

Place = TypeVar("Place")
Made = TypeVar("Made")
# Enough to hide an uneven batch; more only costs memory.
AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Makes one worker's clips of a global batch: reads them, changes them at random, pads them.

    For a GPU the tensors are in page-locked memory, from which they are copied while other kernels run.
    """

    training: Sequence[Case]
    augment: Augment
    share: Share
    device: torch.device
    parts: int = 1

    def __call__(self, batch: GlobalBatch) -> list[Batch | None]:
        """In so many parts (`Share.parts`); None for one without clips."""
        return [self._part(batch, place) for place in self.share.parts(self.parts)]

    def _part(self, batch: GlobalBatch, place: Share) -> Batch | None:
        mine, earlier = (shard(values, rank=place.rank, world=place.world) for values in (batch.indices, batch.earlier))
        if not mine:
            return None
        made = collate(
            [
                self.augment(case, epoch=batch.epoch, index=index, earlier=times)
                for case, index, times in zip(some_at(self.training, mine), mine, earlier, strict=True)
            ]
        )
        return made.pinned() if self.device.type == "cuda" else made


def made_ahead(
    make: Callable[[Place], Made], places: Iterable[Place], *, ahead: int = AHEAD
) -> Generator[tuple[Place, Made], None, None]:
    """(place, what is made for it) in the order of `places`, up to `ahead` of them made before they are asked for.

    With 0 each is made in the calling thread when it is asked for. An error of `make` is raised at its own place.
    """
    if not ahead:
        for place in places:
            yield place, make(place)
        return
    waiting: deque[tuple[Place, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
    try:
        for place in places:
            waiting.append((place, pool.submit(make, place)))
            if len(waiting) > ahead:
                first, made = waiting.popleft()
                yield first, made.result()
        for place, made in waiting:
            yield place, made.result()
    finally:
        # The one in the making is waited for: nothing of this training reads clips after its end.
        pool.shutdown(cancel_futures=True)
