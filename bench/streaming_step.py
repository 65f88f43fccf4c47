"""A causal model's step late in a stream against one early in it: what is remembered must not grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.benchmark import Benchmark
from bench.made import spec, widths_of
from bench.pairs import alternate
from bench.report import Comparison, Figure, Outcome
from components.model.model import TemporalModel
from components.model.streaming import StreamingModel, StreamState
from components.runtime.progress import progress

GOAL = 1.1
RATE_HZ = 10.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is timed, and how often."""

    modalities: tuple[Mapping[str, int], ...]
    early_s: float
    late_s: float
    pairs: int
    warmup: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row per set of modalities."""
    for widths in sizes.modalities:
        yield _row(widths, sizes)


def _row(widths: Mapping[str, int], sizes: Sizes) -> Comparison:
    torch.manual_seed(0)
    streaming = StreamingModel(TemporalModel(spec(widths, causal=True)).eval())
    names = " + ".join(widths)
    early, late = round(sizes.early_s * RATE_HZ), round(sizes.late_s * RATE_HZ)
    states: dict[int, StreamState] = {}
    state = streaming.start()
    with progress(f"stream of {names}", late) as advance:
        for number in range(late):
            _, state = streaming.step(*_step(widths), state)
            if number + 1 in (early, late):
                states[number + 1] = state
            advance(1)
    # The same input for both: only the state differs. A step leaves the state it was given as it is.
    step = _step(widths)
    measured = alternate(
        lambda: streaming.step(*step, states[early]),
        lambda: streaming.step(*step, states[late]),
        pairs=sizes.pairs,
        warmup=sizes.warmup,
        what=f"step of {names}",
    )
    early_s, late_s = measured.medians_s
    return Comparison(
        what=f"one step of a causal model, {names}, one stream at {RATE_HZ:g} Hz",
        unit="step",
        baseline=Figure(name=f"after {_time(sizes.early_s)}", amount=early_s, detail=_size(states[early])),
        ours=Figure(name=f"after {_time(sizes.late_s)}", amount=late_s, detail=_size(states[late])),
        kind="cost",
        ratio=measured.cost,
        pairs=measured.count,
        goal=GOAL,
    )


def _step(widths: Mapping[str, int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features and presence of one step of one stream."""
    features = {name: torch.randn(1, width) for name, width in widths.items()}
    return features, {name: torch.ones(1, dtype=torch.bool) for name in widths}


def _size(state: StreamState) -> str:
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.to_tensors().values())
    return f"state {total / 2**20:.2f} MiB"


def _time(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


TWO = widths_of(("face", "voice"))
FOUR = widths_of()

BENCHMARK = Benchmark(
    question="a causal model's step after 10 minutes of stream against one after 10 seconds",
    run=run,
    full=Sizes(modalities=(TWO, FOUR), early_s=10.0, late_s=600.0, pairs=500, warmup=20),
    quick=Sizes(modalities=(TWO,), early_s=10.0, late_s=60.0, pairs=30, warmup=3),
)
