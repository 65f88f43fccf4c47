"""Whether what a clip costs, and what a worker holds in memory, grow with the corpus: clips read from disk.

Each side is a process of its own: the project's way from a catalog to steps (`Materials`, `train_steps`), with
`runtime.clips_mb: 0`, as with a corpus that is larger than memory. The larger corpora have the features of the smallest
one over and over, written into the file that training reads as those of clips of their own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
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
WAIT_GOAL = 0.05
STEPS = 50
WARMUP = 3
EVERY_S = 0.1
QUANTITIES: tuple[tuple[Literal["time", "memory"], str, str], ...] = (
    ("time", "clip", "clip_s"),
    ("memory", "worker", "peak_bytes"),
)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The smallest corpus, how many times as many clips the others have, the optimiser steps that are timed, and how
    often each corpus is trained on."""

    clips: int
    times: tuple[int, ...]
    steps: int
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """A row per corpus: how long a step waits for its clips. Two per larger one: time per clip and peak memory, over
    those of the smallest."""
    measured: dict[int, list[dict[str, float]]] = {times: [] for times in (1, *sizes.times)}
    for times in measured:
        place = folder / str(times)
        place.mkdir()
        write_catalog(Layout(place), clips=times * sizes.clips, distinct=sizes.clips, steps=STEPS)
    for pair in range(sizes.pairs):
        for times in measured if pair % 2 else reversed(measured):
            measured[times].append(_measured(folder / str(times), sizes))
    for times, found in measured.items():
        shares = Spread.of(one["data_wait"] for one in found)
        clip_s = _median(found, "clip_s")
        yield Comparison(
            what=f"wait for data in training from disk, {times * sizes.clips:,} clips of {STEPS} steps",
            unit="clip",
            baseline=Figure(name="all", amount=clip_s),
            ours=Figure(name="of it waiting", amount=shares.median * clip_s),
            kind="cost",
            ratio=shares,
            pairs=sizes.pairs,
            goal=WAIT_GOAL,
        )
    for times in sizes.times:
        for quantity, unit, name in QUANTITIES:
            both = zip(measured[1], measured[times], strict=True)
            yield Comparison(
                what=f"training from disk, {times} times the clips, of {STEPS} steps and four modalities",
                unit=unit,
                quantity=quantity,
                baseline=_figure(f"{sizes.clips} clips", measured[1], name),
                ours=_figure(f"{times * sizes.clips:,} clips", measured[times], name),
                kind="cost",
                ratio=Spread.of(other[name] / one[name] for one, other in both),
                pairs=sizes.pairs,
                goal=GOAL,
            )


def _median(found: Sequence[Mapping[str, float]], name: str) -> float:
    return Spread.of(one[name] for one in found).median


def _figure(name: str, found: Sequence[Mapping[str, float]], quantity: str) -> Figure:
    detail = f"file and transform made in {_median(found, 'made_s'):.0f} s"
    return Figure(name=name, amount=_median(found, quantity), detail=detail)


def _measured(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Of a process that begins without the packed clips."""
    shutil.rmtree(Layout(folder).packed, ignore_errors=True)
    shutil.rmtree(folder / "state", ignore_errors=True)
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
    full=Sizes(clips=116, times=(10, 100), steps=40, pairs=3),
    quick=Sizes(clips=8, times=(2,), steps=2, pairs=1),
)

if __name__ == "__main__":
    from bench.__main__ import pin_threads

    pin_threads(1)
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
