"""Shared parts of the stages on Ray Data: the settings of a stream of blocks, and its results as they arrive."""

from __future__ import annotations

import logging
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
# What Ray Data says when it waits for a processor, such as while a second run has them all, and who says it.
STARVED = "The job may hang forever"
STARVED_LOGGER = "ray.data._internal.execution.resource_manager"
WAITING = (
    "waiting for a free processor: other work on this Ray, such as a second run, has them all. The stage goes on when "
    "one is free; `ray status` shows what is in use"
)


class _Waiting(logging.Filter):
    """Says in place of Ray that a stage waits; it would say that the job may hang forever."""

    def filter(self, record: logging.LogRecord) -> bool:
        if STARVED in record.getMessage():
            record.msg, record.args = WAITING, ()
        return True


_WAITING = _Waiting()


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
    logging.getLogger(STARVED_LOGGER).addFilter(_WAITING)  # once, however often
    tables = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))
    with dropped(RESTARTS, begins=RAY_LINE):  # the actors are created before the first block arrives
        first = next(tables, None)
    if first is not None:
        yield first
        yield from tables
