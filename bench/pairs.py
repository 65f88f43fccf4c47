"""Two things timed side by side, so that what slows the machine for a while slows both."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.report import Comparison, Figure, Spread
from components.runtime.progress import progress


@dataclass(frozen=True, kw_only=True)
class PairedTimes:
    """Seconds of two things, (P,) each; entry i of the one ran right beside entry i of the other."""

    baseline_s: tuple[float, ...]
    ours_s: tuple[float, ...]

    @property
    def count(self) -> int:
        """P."""
        return len(self.ours_s)

    @property
    def cost(self) -> Spread:
        """Ours / baseline."""
        return Spread.of(ours / baseline for baseline, ours in zip(self.baseline_s, self.ours_s, strict=True))

    @property
    def gain(self) -> Spread:
        """Baseline / ours."""
        return Spread.of(baseline / ours for baseline, ours in zip(self.baseline_s, self.ours_s, strict=True))

    @property
    def medians_s(self) -> tuple[float, float]:
        """Of the baseline, and of ours."""
        return Spread.of(self.baseline_s).median, Spread.of(self.ours_s).median

    def compared(
        self, baseline: str, ours: str, *, what: str, unit: str, goal: float | None = None, note: str = ""
    ) -> Comparison:
        """What ours costs, with the names of both sides; the rest as `Comparison` has it."""
        baseline_s, ours_s = self.medians_s
        return Comparison(
            what=what,
            unit=unit,
            baseline=Figure(name=baseline, amount=baseline_s),
            ours=Figure(name=ours, amount=ours_s),
            kind="cost",
            ratio=self.cost,
            pairs=self.count,
            goal=goal,
            note=note,
        )


def alternate(
    baseline: Callable[[], object], ours: Callable[[], object], *, pairs: int, warmup: int, what: str
) -> PairedTimes:
    """Calls both in turn; who goes first changes with every pair, so that neither profits from the other's caches.

    Args:
        baseline, ours: one call is one measurement; it must have finished its work when it returns.
        pairs: measured ones, at least one.
        warmup: pairs before them, whose times are thrown away.
        what: for the progress bar.
    """
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with progress(what, warmup + pairs) as advance, _no_collection():
        for number in range(warmup + pairs):
            for is_ours in (False, True) if number % 2 else (True, False):
                took = timed(ours if is_ours else baseline)
                if number >= warmup:
                    seconds[is_ours].append(took)
            advance(1)
    return PairedTimes(baseline_s=tuple(seconds[False]), ours_s=tuple(seconds[True]))


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextmanager
def _no_collection() -> Iterator[None]:
    """The garbage of the one must not be collected in the other's time."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
