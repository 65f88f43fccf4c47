"""One training as a value that can be sent to workers, and how it runs in the calling process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import components.model
import components.training
from components.catalog import cases
from components.catalog.cases import Case
from components.contracts.config import Runtime
from components.contracts.errors import DataError
from components.contracts.fingerprint import files_sha256, fingerprint
from components.features import transform
from components.model.published.windows import Windows
from components.runtime.threads import one_thread
from components.training.checkpoints.copies import Copies
from components.training.checkpoints.keeper import Checkpoints
from components.training.checkpoints.state import lend
from components.training.learner import Learner, Share
from components.training.loop import ALONE, TrainingTask, new_learner, run_epochs
from components.training.profiling import TRACE, traced
from components.training.samples.windows import cut_into_windows

CHECKPOINTS = "checkpoints"


def resume_name(inputs_sha256: str) -> str:
    """The name of an unfinished training. Changed code starts anew, so that a result comes from one version of it."""
    return fingerprint([inputs_sha256, _code_sha256()])[:16]


@cache
def _code_sha256() -> str:
    """Of the code as this process found it, from transformed clips to weights: files that are edited meanwhile do not
    change what it calls a training."""
    folders = (Path(module.__path__[0]) for module in (components.model, components.training))
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return files_sha256([*files, *(Path(str(module.__file__)) for module in (cases, transform))])


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
        """Its checkpoints, below the folder of its state, with copies where `runtime.copies` asks for them."""
        copies = None if runtime.copies is None else Copies(runtime.copies, resume_name(self.inputs_sha256))
        return Checkpoints(folder / CHECKPOINTS, inputs_sha256=self.inputs_sha256, runtime=runtime, copies=copies)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One finished epoch: its record (see `run_epochs`) and its seconds, which must not be in any output.

    `seconds` is None where the record comes from a checkpoint: a process that ended before may not have reported it.
    `parts` are the seconds of the first worker by part (`clock.py`).
    """

    record: dict[str, Any]
    seconds: float | None
    steps: int
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The number of the epoch, from 0."""
        return int(self.record["epoch"])

    @property
    def metrics(self) -> dict[str, float]:
        """The record's numbers by name, the speed, and where the time went (`time/forward_s`, …)."""
        values = {name: float(value) for name, value in self.record.items() if name != "epoch"}
        if self.seconds is None:
            return values
        times = {f"time/{part}_s": seconds for part, seconds in self.parts.items()}
        return {**values, "steps_per_s": self.steps / max(self.seconds, 1e-9), **times}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The averaged weights and the records of all epochs."""

    weights: dict[str, Tensor]
    history: list[dict[str, Any]]


def trained_epochs(
    job: Job,
    learner: Learner,
    training: Sequence[Case],
    held_out: Sequence[Case],
    *,
    runtime: Runtime,
    trace: Path,
    share: Share = ALONE,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Epoch]:
    """Trains from the state of the learner to the end; yields each epoch, first those of its history.

    What the caller does with an epoch counts as `logging` in the next one.

    Args:
        training, held_out: the clips, as `job` gives them.
        runtime: how it runs.
        trace: the file for the trace of `runtime.profile_steps` steps.
        share: this worker's place among the workers.
        checkpoints: where they are taken, on the one worker that writes them. The others lend it what it lacks.
    """
    steps = learner.steps // job.task.train.epochs
    for record in learner.history:
        yield Epoch(record=record, seconds=None, steps=steps)
    with traced(trace, steps=runtime.profile_steps) as step_done, _kept_at_boundary(learner, checkpoints) as boundary:
        learner.clock.named = runtime.profile_steps > 0

        def at_boundary(learner: Learner) -> None:
            boundary.samples = learner.samples
            with learner.clock("checkpoint"):
                _checkpoint(learner, checkpoints, share)
            step_done()

        started = time.perf_counter()
        for record in run_epochs(
            learner,
            job.task,
            training,
            held_out,
            share=share,
            parts=runtime.parts,
            ahead=runtime.batches_ahead,
            at_boundary=at_boundary,
        ):
            ended = time.perf_counter()
            epoch = Epoch(record=record, seconds=ended - started, steps=steps, parts=learner.clock.take())
            started = ended
            with learner.clock("logging"):
                yield epoch


@dataclass
class _Boundary:
    """The last batch boundary, by the samples consumed there."""

    samples: int


@contextmanager
def _kept_at_boundary(learner: Learner, checkpoints: Checkpoints | None) -> Iterator[_Boundary]:
    """Takes a last checkpoint where clips cannot be read, so that nothing is trained again: by itself, on the worker
    that writes them. Where held-out clips cannot be read the epoch has no record yet, and the one before it counts."""
    boundary = _Boundary(learner.samples)
    try:
        yield boundary
    except DataError:
        if checkpoints is not None and not learner.placement.together and learner.samples == boundary.samples:
            checkpoints.take_last(learner)
        raise


def _checkpoint(learner: Learner, checkpoints: Checkpoints | None, share: Share) -> None:
    """Takes a checkpoint if it is time for one on the worker that writes them, which then says so to those whose parts
    of the state it needs."""
    due = checkpoints is not None and checkpoints.due()
    if learner.placement.together:
        told = torch.tensor(float(due), device=learner.device)
        share.sum_over_workers(told)
        due = bool(told)
    if not due:
        return
    if checkpoints is None:
        lend(learner)
    else:
        checkpoints.take(learner)


def fit_here(job: Job, folder: Path, on_epoch: Callable[[Epoch], None], runtime: Runtime) -> Trained:
    """Trains in this process, on one thread, on the CPU.

    Goes on from the newest checkpoint in `folder/checkpoints` and writes there. The random state and the number of
    threads of the process are restored afterwards.
    """
    training, held_out = job.training(), job.items("calibration")
    with one_thread(), torch.random.fork_rng(devices=[]), job.checkpoints(folder, runtime) as checkpoints:
        learner = new_learner(job.task, training)
        checkpoints.load(learner)
        for epoch in trained_epochs(
            job, learner, training, held_out, runtime=runtime, trace=folder / TRACE, checkpoints=checkpoints
        ):
            on_epoch(epoch)
    return Trained(weights=learner.averaged(), history=learner.history)
