"""The share of logging in a training: with a run in MLflow, against one without.

The store is a database file, as where no server is configured: then its library works in the process that trains, which
costs more than a server beside it. Opening and closing a run are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.made import widths_of
from bench.pairs import alternate
from bench.report import Outcome
from bench.training.made import FACE_AND_VOICE, MadeClips, task_of
from components.contracts.config import Runtime, Tracking
from components.tracking.client import client_of
from components.tracking.spooled import open_run
from components.training.job import Epoch, Job, fit_here

GOAL = 1.01
BATCH = 32
POLL_S = 0.01
RUNTIME = Runtime(workers=0)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Clips of an epoch and their steps, epochs of a training, and pairs of trainings."""

    clips: int
    steps: int
    epochs: int
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row. A training with a run is done when MLflow has its last epoch."""
    widths = widths_of(FACE_AND_VOICE)
    task = task_of(batch_clips=BATCH, epochs=sizes.epochs)
    made = MadeClips(clips=sizes.clips, steps=sizes.steps, widths=widths)
    clips = {split: made(split) for split in ("train", "calibration")}
    job = Job(task=task, items=clips.__getitem__, inputs_sha256="made")
    tracking = Tracking(uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="logged")

    def train(on_epoch: Callable[[Epoch], None]) -> None:
        fit_here(job, folder / "state", on_epoch, RUNTIME)

    with open_run(tracking, folder, inputs_sha256="made", name="logged", folder=folder / "spool") as tracked:
        client, steps = client_of(tracking, folder), 0

        def plain() -> None:
            train(lambda _: None)

        def logged() -> None:
            nonlocal steps

            def log(epoch: Epoch) -> None:
                tracked.metrics(epoch.metrics, step=steps + epoch.number)

            train(log)
            steps += sizes.epochs
            while len(client.get_metric_history(tracked.run_id, "loss")) < steps:
                time.sleep(POLL_S)

        measured = alternate(plain, logged, pairs=sizes.pairs, warmup=1, what="trainings with a run in MLflow")
    yield measured.compared(
        "without",
        "with",
        what=f"{sizes.epochs} epochs of {sizes.clips:,} clips × {sizes.steps} steps, face and voice, logged in MLflow",
        unit="training",
        goal=GOAL,
    )


BENCHMARK = Benchmark(
    question="a training that is logged in MLflow against one that is not",
    run=run,
    full=Sizes(clips=1440, steps=40, epochs=2, pairs=8),
    quick=Sizes(clips=32, steps=8, epochs=2, pairs=1),
)
