"""Two workers against one: seconds of an epoch through Ray Train, each worker on one core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.made import widths_of
from bench.report import Comparison, Figure, Outcome, Spread
from bench.stages import one_ray
from bench.training.made import FACE_AND_VOICE, MadeClips, task_of
from components.contracts.config import RayResources, Runtime
from components.training.job import Epoch, Job
from components.training.trainer import fit

BATCH = 32
NEVER_MINUTES = 1e6


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Clips and their steps, epochs of a training, and trainings of each side."""

    clips: int
    steps: int
    epochs: int
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row: the epochs of both, without the first of each training."""
    widths = widths_of(FACE_AND_VOICE)
    task = task_of(batch_clips=BATCH, epochs=sizes.epochs)
    clips = MadeClips(clips=sizes.clips, steps=sizes.steps, widths=widths)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    resources = RayResources(num_cpus=2)
    with one_ray(resources):
        for pair in range(sizes.pairs):
            for workers in (1, 2) if pair % 2 else (2, 1):
                job = Job(task=task, items=clips, inputs_sha256=f"{pair} {workers}")
                seconds[workers].append(_epoch_s(job, folder / f"{pair}-{workers}", workers, resources))
    medians = {workers: Spread.of(values).median for workers, values in seconds.items()}
    yield Comparison(
        what=f"an epoch of {sizes.clips:,} clips × {sizes.steps} steps, face and voice, batches of {BATCH}",
        unit="epoch",
        baseline=Figure(name="one worker", amount=medians[1]),
        ours=Figure(name="two workers", amount=medians[2]),
        kind="gain",
        ratio=Spread.of(one / two for one, two in zip(seconds[1], seconds[2], strict=True)),
        pairs=sizes.pairs,
        note=f"Medians over {sizes.epochs - 1} epochs of each of {sizes.pairs} trainings.",
    )


def _epoch_s(job: Job, folder: Path, workers: int, resources: RayResources) -> float:
    epochs: list[Epoch] = []
    runtime = Runtime(workers=workers, checkpoint_minutes=NEVER_MINUTES)
    fit(job, folder, runtime=runtime, resources=resources, on_epoch=epochs.append)
    return Spread.of(epoch.seconds for epoch in epochs[1:] if epoch.seconds is not None).median


BENCHMARK = Benchmark(
    question="an epoch with two workers against one with one",
    run=run,
    full=Sizes(clips=1152, steps=40, epochs=6, pairs=3),
    quick=Sizes(clips=32, steps=8, epochs=3, pairs=1),
)
