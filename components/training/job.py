"""One training as a value that can be sent to workers, and how it runs in the calling process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.catalog.cases import Case
from components.contracts.config import Runtime
from components.model.windows import Windows
from components.runtime.threads import one_thread
from components.training.checkpoints import Checkpoints
from components.training.loop import TrainingTask, new_learner, run_epochs
from components.training.windows import cut_into_windows

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training: task and clips.

    Attributes:
        task: model, settings and seed.
        items: split name → its clips; called once per split in each worker, so it must be picklable and must always
            return the same clips in the same order.
        inputs_sha256: identifies the training; a checkpoint of a different one is refused.
    """

    task: TrainingTask
    items: Callable[[str], Sequence[Case]]
    inputs_sha256: str

    def training(self) -> Sequence[Case]:
        """The items of an epoch: the training clips, or with `train.windows` the windows of them."""
        clips, spec = self.items("train"), self.task.spec
        if not self.task.train.windows:
            return clips
        return cut_into_windows(clips, Windows.of(spec.model, spec.rate_hz))

    def checkpoints(self, folder: Path, runtime: Runtime) -> Checkpoints:
        """Its checkpoints, below the folder of its state."""
        return Checkpoints(folder / CHECKPOINTS, inputs_sha256=self.inputs_sha256, runtime=runtime)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One finished epoch: its record (see `run_epochs`) and its seconds, which must not be in any output.

    `seconds` is None where the record comes from a checkpoint: a process that ended before may not have told of it.
    """

    record: dict[str, Any]
    seconds: float | None
    steps: int

    @property
    def number(self) -> int:
        """The number of the epoch, from 0."""
        return int(self.record["epoch"])

    @property
    def metrics(self) -> dict[str, float]:
        """The record's numbers by name, and the speed."""
        values = {name: float(value) for name, value in self.record.items() if name != "epoch"}
        if self.seconds is None:
            return values
        return {**values, "steps_per_s": self.steps / max(self.seconds, 1e-9)}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The averaged weights and the records of all epochs."""

    weights: dict[str, Tensor]
    history: list[dict[str, Any]]


def fit_here(job: Job, folder: Path, on_epoch: Callable[[Epoch], None], runtime: Runtime) -> Trained:
    """Trains in this process, on one thread, on the CPU.

    Goes on from the newest checkpoint in `folder/checkpoints` and writes there. The random state and the number of
    threads of the process are restored afterwards.
    """
    training, held_out = job.training(), job.items("calibration")
    with one_thread(), torch.random.fork_rng(devices=[]), job.checkpoints(folder, runtime) as checkpoints:
        learner = new_learner(job.task, training)
        checkpoints.load(learner)
        steps = job.task.order(len(training)).steps_per_epoch
        for record in learner.history:
            on_epoch(Epoch(record=record, seconds=None, steps=steps))
        started = time.perf_counter()
        for record in run_epochs(learner, job.task, training, held_out, at_boundary=checkpoints.at_boundary):
            ended = time.perf_counter()
            on_epoch(Epoch(record=record, seconds=ended - started, steps=steps))
            started = ended
    return Trained(weights=learner.averaged(), history=learner.history)
