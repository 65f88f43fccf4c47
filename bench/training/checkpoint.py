"""The share of checkpoints in a training: an epoch while one is taken and written, against one without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.made import cases, widths_of
from bench.pairs import alternate
from bench.report import Outcome
from bench.training.made import FACE_AND_VOICE, task_of
from components.contracts.config import Runtime
from components.training.checkpoints.keeper import Checkpoints
from components.training.loop import new_learner, train_steps

GOAL = 1.03
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Clips of an epoch and their steps, and pairs of epochs."""

    clips: int
    steps: int
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row. The copy of the state is taken at the start of the epoch and written while it goes on."""
    widths = widths_of(FACE_AND_VOICE)
    clips = cases(sizes.clips, steps=sizes.steps, widths=widths)
    task = task_of(batch_clips=BATCH, epochs=2 * sizes.pairs + 2)
    learner = new_learner(task, clips)
    steps, count = train_steps(learner, task, clips), task.order(clips).steps_per_epoch
    with Checkpoints(folder / "checkpoints", inputs_sha256="made", runtime=Runtime(workers=0)) as checkpoints:

        def epoch() -> None:
            for _ in range(count):
                next(steps)

        def epoch_with() -> None:
            checkpoints.take(learner)
            epoch()

        measured = alternate(epoch, epoch_with, pairs=sizes.pairs, warmup=1, what="epochs with a checkpoint")
    yield measured.compared(
        "without",
        "with",
        what=f"an epoch of {sizes.clips:,} clips × {sizes.steps} steps, face and voice, in which a checkpoint is taken",
        unit="epoch",
        goal=GOAL,
    )


BENCHMARK = Benchmark(
    question="an epoch in which a checkpoint is taken against one without",
    run=run,
    full=Sizes(clips=1440, steps=40, pairs=12),
    quick=Sizes(clips=32, steps=8, pairs=2),
)
