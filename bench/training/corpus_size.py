"""Whether what a clip costs, and what a worker holds in memory, grow with the corpus: clips read from disk.

Each side is a process of its own: the project's way from a catalog to steps (`Materials`, `train_steps`), with
`runtime.clips_mb: 0`, as with a corpus that is larger than memory. The larger corpora have the features of the smallest
one over and over, written into the file that training reads as those of clips of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from bench.training.made import write_catalog
from components.contracts.config import Model, Runtime, Train
from components.contracts.layout import Layout
from components.training.loop import new_learner, train_steps
from components.training.prepare import Materials
from pipelines.memory import PeakMemory

GOAL = 1.10
STEPS = 50
WARMUP = 3
EVERY_S = 0.1
QUANTITIES: tuple[tuple[Literal["time", "memory"], str, str], ...] = (
    ("time", "clip", "clip_s"),
    ("memory", "worker", "peak_bytes"),
)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The smallest corpus, how many times as many clips the others have, and the optimiser steps that are timed."""

    clips: int
    times: tuple[int, ...]
    steps: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """Two rows per larger corpus: time per clip and peak memory, over those of the smallest."""
    one = _measured(folder / "1", sizes, 1)
    for times in sizes.times:
        other = _measured(folder / str(times), sizes, times)
        for quantity, unit, name in QUANTITIES:
            yield Comparison(
                what=f"training from disk, {times} times the clips, of {STEPS} steps and four modalities",
                unit=unit,
                quantity=quantity,
                baseline=Figure(name=f"{sizes.clips} clips", amount=one[name], detail=_detail(one)),
                ours=Figure(name=f"{times * sizes.clips:,} clips", amount=other[name], detail=_detail(other)),
                kind="cost",
                ratio=Spread.of([other[name] / one[name]]),
                pairs=1,
                goal=GOAL,
            )


def _detail(figures: dict[str, float]) -> str:
    return f"wait for data {figures['data_wait']:.1%}, file and transform made in {figures['made_s']:.0f} s"


def _measured(folder: Path, sizes: Sizes, times: int) -> dict[str, float]:
    folder.mkdir()
    write_catalog(Layout(folder), clips=times * sizes.clips, distinct=sizes.clips, steps=STEPS)
    done = subprocess.run(
        [sys.executable, "-m", "bench.training.corpus_size", str(folder), str(sizes.steps)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def measure(folder: Path, steps: int) -> dict[str, float]:
    """Trains in this process on the catalog of a folder: seconds per clip, the share that waited for data, the peak."""
    layout, runtime, model = Layout(folder), Runtime(workers=0, clips_mb=0), Model()
    train = Train(contrastive_loss=0.0, epochs=2 + steps)  # epochs enough for all steps
    started = time.perf_counter()
    with PeakMemory(EVERY_S) as memory:
        materials = Materials.read(layout, model=model, train=train, runtime=runtime, seed=0)
        job, _ = materials.job(layout, folder / "state", model=model, train=train, runtime=runtime, seed=0)
        del materials
        training = job.training()
        learner = new_learner(job.task, training)
        trained = train_steps(learner, job.task, training)
        for _ in islice(trained, WARMUP):
            pass
        made_s = time.perf_counter() - started
        learner.clock.take()
        started, clips = time.perf_counter(), 0
        for batch, _ in islice(trained, steps):
            clips += len(batch.indices)
        seconds = time.perf_counter() - started
        trained.close()  # type: ignore[attr-defined]
    return {
        "clip_s": seconds / clips,
        "data_wait": learner.clock.take()["data_wait"] / seconds,
        "made_s": made_s,
        "peak_bytes": memory.peak_bytes,
    }


BENCHMARK = Benchmark(
    question="Does what a clip costs in training, and what a worker holds in memory, grow with the corpus?",
    run=run,
    full=Sizes(clips=116, times=(10, 100), steps=40),
    quick=Sizes(clips=8, times=(2,), steps=2),
)

if __name__ == "__main__":
    from bench.__main__ import pin_threads

    pin_threads(1)
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
