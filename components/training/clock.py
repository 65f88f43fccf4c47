"""Where the time of a training goes: seconds by part, as the first worker measures them.

A slow worker shows as `communication` on the others, which wait for it. What no part covers is Python's own work
between them; it is called `other`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch

# In the order in which they are shown where their shares are equal. The first is the wait for a batch.
PARTS = (
    "data_wait",
    "forward",
    "backward",
    "communication",
    "optimiser",
    "held_out",
    "checkpoint",
    "logging",
)
# Parts that are work of the device: on a GPU their kernels run after the call has returned.
ON_DEVICE = frozenset({"forward", "backward", "communication", "optimiser"})
OTHER = "other"
# Pairs of events before their times are read. A step ends with a synchronisation, so reading waits for a step at most.
EVENTS = 256
MS_PER_S = 1000.0


class Clock:
    """Adds up the seconds of parts.

        with clock("forward"):
            ...

    On a GPU the parts of a step are timed by events in its stream, which cost no synchronisation. `named` gives parts
    their names in a trace of torch's profiler.
    """

    def __init__(self, device: torch.device) -> None:
        self.named = False
        self._on_gpu = device.type == "cuda"
        self._seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Adds the seconds of the block to a part of `PARTS`."""
        timed = self._on_stream(part) if self._on_gpu and part in ON_DEVICE else self._on_host(part)
        with torch.profiler.record_function(part) if self.named else nullcontext(), timed:
            yield

    def take(self) -> dict[str, float]:
        """Part → seconds since the last call, or since the start."""
        self._read_events()
        taken, self._seconds = self._seconds, dict.fromkeys(PARTS, 0.0)
        return taken

    @contextmanager
    def _on_host(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - started

    @contextmanager
    def _on_stream(self, part: str) -> Iterator[None]:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        yield
        last.record()
        self._events.append((part, first, last))
        if len(self._events) == EVENTS:
            self._read_events()

    def _read_events(self) -> None:
        if self._events:
            self._events[-1][2].synchronize()
        for part, first, last in self._events:
            self._seconds[part] += first.elapsed_time(last) / MS_PER_S
        self._events.clear()


def in_words(parts: Mapping[str, float], seconds: float) -> str:
    """`52 s: backward 41 %, forward 33 %, …`, the largest share first, with the data wait always.

    Args:
        parts: part → seconds.
        seconds: of everything.
    """
    whole = {**parts, OTHER: max(0.0, seconds - sum(parts.values()))}
    shares = {name: value / max(seconds, 1e-9) for name, value in whole.items()}
    shown = [name for name, share in shares.items() if share >= 0.001 or name == PARTS[0]]
    shown.sort(key=lambda name: -shares[name])
    return f"{seconds:.0f} s: " + ", ".join(f"{name.replace('_', ' ')} {shares[name]:.1%}" for name in shown)
