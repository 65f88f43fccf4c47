"""Shared parts of the stages on Ray Data: the settings of a stream of blocks, and its results as they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from components.runtime.dropped import dropped

BLOCK_BYTES = 8 << 20  # blocks leave an actor in pieces of about this size, whatever the size of its input
# Ray Data passes every actor objects that live as long as the driver, and Ray's core warns for each that they might not
# (https://github.com/ray-project/ray/issues/57733). Disabling restarts would silence the warning, too.
RESTARTS = r"core_worker\.cc:\d+: Actor with class name: 'MapWorker\(.* has constructor arguments in the object store"
RAY_LINE = "[20"  # the year


@contextmanager
def streaming() -> Iterator[None]:
    """Ray Data's settings for datasets built in the block: small pieces, and no progress bars but the stage's own."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    with DataContext.current(context):
        yield


def blocks_of(dataset: Any) -> Iterator[pa.Table]:
    """The blocks of a Ray Data stream as they arrive, in any order. Raises Ray's errors."""
    tables = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))
    with dropped(RESTARTS, begins=RAY_LINE):  # the actors are created before the first block arrives
        first = next(tables, None)
    if first is not None:
        yield first
        yield from tables
