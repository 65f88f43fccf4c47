"""What the stages on Ray Data share: the settings of a stream of blocks, and its results as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from components.runtime.dropped import dropped

BLOCK_BYTES = 8 << 20  # blocks leave an actor in pieces of about this size, whatever it takes at a time
# Ray Data hands every actor objects of its own that live as long as the driver, and Ray's core warns of each that they
# might not (https://github.com/ray-project/ray/issues/57733). To do without restarts would be quiet, too.
RESTARTS = r"core_worker\.cc:\d+: Actor with class name: 'MapWorker\(.* has constructor arguments in the object store"
RAY_LINE = "[20"  # the year


@contextmanager
def streaming() -> Iterator[None]:
    """Ray Data's settings for what is built in the block: small pieces, and no progress but the stage's own."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    with DataContext.current(context):
        yield


def blocks_of(dataset: Any) -> Iterator[pa.Table]:
    """The blocks of a Ray Data stream as they come, in whatever order. Raises Ray's errors."""
    tables = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))
    with dropped(RESTARTS, begins=RAY_LINE):  # the actors are made before the first block comes
        first = next(tables, None)
    if first is not None:
        yield first
        yield from tables
