"""The sum of a large gradient over two workers: in buckets while the backward pass goes on, or after it.

The workers are two processes on this machine that talk by gloo, so a network is not part of it, and what adds up takes
the cores that compute.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.benchmark import Benchmark
from bench.made import cases, widths_of
from bench.pairs import alternate
from bench.report import Comparison, Figure, Outcome, Spread
from bench.training.made import FACE_AND_VOICE, task_of

WORLD = 2
CLIPS = 8


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The model's width, steps of a clip, and pairs of optimiser steps."""

    width: int
    steps: int
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row, as the first worker measures it."""
    command = [sys.executable, "-m", "bench.training.overlap", str(folder), json.dumps(vars(sizes))]
    workers = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(WORLD)]
    said = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise RuntimeError("a worker failed")
    found = json.loads(said[0].splitlines()[-1])
    yield Comparison(
        what=f"an optimiser step of {WORLD} workers, {found['weights'] / 1e6:.1f} million weights, buckets: "
        f"{found['buckets']}, {CLIPS} clips × {sizes.steps} steps each",
        unit="step",
        baseline=Figure(name="one sum after the backward pass", amount=found["after_s"]),
        ours=Figure(name="in buckets meanwhile", amount=found["meanwhile_s"]),
        kind="cost",
        ratio=Spread(**found["ratio"]),
        pairs=sizes.pairs,
    )


def measure(folder: Path, sizes: Sizes, rank: int) -> dict[str, object]:
    """As one of the workers."""
    import torch.distributed as dist

    from components.training.learner import Share
    from components.training.loop import new_learner
    from components.training.samples.items import collate
    from components.training.trainer import _all_reduce, _start_all_reduce

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    clips = cases(CLIPS, steps=sizes.steps, widths=widths_of(FACE_AND_VOICE), seed=rank)
    task = task_of(batch_clips=WORLD * CLIPS, epochs=10_000, width=sizes.width)
    learner, batch = new_learner(task, clips), collate(clips)
    after = Share(rank=rank, world=WORLD, sum_over_workers=_all_reduce)
    meanwhile = replace(after, start_sum=_start_all_reduce)
    done = 0

    def step(share: Share) -> Callable[[], object]:
        def once() -> None:
            nonlocal done
            learner.step(batch, step=done, samples=0, share=share)
            done += 1

        return once

    measured = alternate(step(after), step(meanwhile), pairs=sizes.pairs, warmup=2, what="steps of two workers")
    dist.destroy_process_group()
    after_s, meanwhile_s = measured.medians_s
    return {
        "after_s": after_s,
        "meanwhile_s": meanwhile_s,
        "ratio": vars(measured.cost),
        "weights": learner.gradient.numel(),
        "buckets": len(learner.buckets),
    }


BENCHMARK = Benchmark(
    question="a large gradient added up over two workers while the backward pass goes on, against after it",
    run=run,
    full=Sizes(width=512, steps=40, pairs=20),
    quick=Sizes(width=8, steps=8, pairs=1),
)

if __name__ == "__main__":
    from bench.__main__ import pin_threads

    pin_threads(1)
    print(json.dumps(measure(Path(sys.argv[1]), Sizes(**json.loads(sys.argv[2])), int(sys.argv[3]))))
