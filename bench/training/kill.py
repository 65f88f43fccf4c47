"""From the kill of a worker to the next step that is trained, beside the start of the training itself.

Every epoch is one step, so that the process which started the training sees each. A worker kills itself in the middle;
Ray Train notices it, starts both workers again, and they go on from the last checkpoint, which was taken after the step
before.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.benchmark import Benchmark
from bench.made import cases, widths_of
from bench.report import Comparison, Figure, Outcome, Spread
from bench.stages import one_ray
from bench.training.made import FACE_AND_VOICE, task_of
from components.catalog.cases import Case
from components.contracts.config import RayResources, Runtime
from components.training.job import Epoch, Job
from components.training.trainer import fit

WORKERS = 2
CLIPS, STEPS = 32, 40
DIED = "died"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Steps of a training, the step in which the worker dies, and trainings."""

    steps: int
    dies_in: int
    trainings: int


@dataclass(frozen=True, kw_only=True)
class Dying:
    """Clips of which the first worker that reads its own for the step `step` dies, once, and notes when."""

    folder: Path
    step: int

    def __call__(self, split: str) -> Sequence[Case]:
        """Those of a split."""
        if split != "train":
            return []
        return _DyingClips(cases(CLIPS, steps=STEPS, widths=widths_of(FACE_AND_VOICE)), self)


class _DyingClips(list[Case]):
    def __init__(self, clips: Sequence[Case], of: Dying) -> None:
        super().__init__(clips)
        self._of, self._reads = of, 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self._reads += 1
        if self._reads == self._of.step * CLIPS // WORKERS:
            try:
                note = os.open(self._of.folder / DIED, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                return super().__getitem__(index)
            os.write(note, str(time.time()).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row."""
    started, lost = [], []
    resources = RayResources(num_cpus=2)
    with one_ray(resources):
        for number in range(sizes.trainings):
            start_s, lost_s = _measured(folder / str(number), sizes, resources)
            started.append(start_s)
            lost.append(lost_s)
    yield Comparison(
        what=f"from the kill of one of {WORKERS} workers to the next trained step, a checkpoint after every step",
        unit="training",
        baseline=Figure(name="from its start to its first step", amount=Spread.of(started).median),
        ours=Figure(name="from the kill to the next step", amount=Spread.of(lost).median),
        kind="cost",
        ratio=Spread.of(after / before for before, after in zip(started, lost, strict=True)),
        pairs=sizes.trainings,
    )


def _measured(folder: Path, sizes: Sizes, resources: RayResources) -> tuple[float, float]:
    folder.mkdir()
    at: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        at.append(time.time())

    task = task_of(batch_clips=CLIPS, epochs=sizes.steps)
    job = Job(task=task, items=Dying(folder=folder, step=sizes.dies_in), inputs_sha256=folder.name)
    started = time.time()
    runtime = Runtime(workers=WORKERS, checkpoint_steps=1)
    fit(job, folder / "state", runtime=runtime, resources=resources, on_epoch=on_epoch)
    died = float((folder / DIED).read_text())
    # The longest gap: steps that were done when it died are reported up to a look at the file later.
    _, resumed = max((after - before, after) for before, after in pairwise(at))
    assert resumed > died, (at, died)
    return at[0] - started, resumed - died


BENCHMARK = Benchmark(
    question="from the kill of a training worker to the next trained step",
    run=run,
    full=Sizes(steps=40, dies_in=20, trainings=3),
    quick=Sizes(steps=8, dies_in=5, trainings=1),
)
