"""A trace of some steps, by torch's profiler: what ran when, on which thread and on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import profile, schedule

TRACE = "trace.json"
# Steps before the trace: the first ones load libraries and fill caches. The last of them warms up the profiler.
SKIPPED = 10


@contextmanager
def traced(path: Path, *, steps: int) -> Iterator[Callable[[], None]]:
    """Writes a trace of `steps` steps, after the first `SKIPPED`, in Chrome's format; yields what to call after each.

    A training that ends earlier writes those it had after them. With 0 steps nothing is recorded.
    """
    if not steps:
        yield lambda: None
        return

    def write(recorded: profile) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        recorded.export_chrome_trace(str(path))

    plan = schedule(wait=SKIPPED - 1, warmup=1, active=steps, repeat=1)
    with profile(schedule=plan, on_trace_ready=write, record_shapes=True) as recording:
        yield recording.step
