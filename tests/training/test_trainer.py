from __future__ import annotations

import importlib
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from components.catalog.cases import Case
from components.contracts.config import RayResources, Runtime, Train
from components.contracts.errors import ModelError
from components.training import trainer
from components.training.job import CHECKPOINTS, Epoch, Job
from components.training.learner import DivergedError
from components.training.loop import TrainingTask, new_learner
from components.training.trainer import fit
from tests.datasets.objects import BUCKET, object_store
from tests.model.toys import Toy, toy_spec
from tests.training.diverging import diverging
from tests.training.workers import train_in_threads

TOY = Toy(clips=9)
TRAIN = Train(epochs=8, batch_clips=4)
RUNTIME = Runtime(workers=2, checkpoint_steps=1, max_failures=1)
TASK = TrainingTask(spec=toy_spec(modality_dropout=0.3), train=TRAIN, seed=3)
JOB = Job(task=TASK, items=TOY.items, inputs_sha256="x")


@dataclass(frozen=True)
class Dying:
    """Clips that kill the process which reads them, in the middle of training, `times` times in all."""

    folder: Path
    times: int

    def __call__(self, split: str) -> Sequence[Case]:
        items = TOY.items(split)
        return items if split != "train" else _DyingItems(items, self.folder, self.times)


class _DyingItems(list[Case]):
    def __init__(self, items: list[Case], folder: Path, times: int) -> None:
        super().__init__(items)
        self.folder, self.times, self.reads = folder, times, 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        # Rank 0 reads five clips per epoch, so it dies in the fourth, with checkpoints behind it.
        self.reads += 1
        died = len(list(self.folder.glob("died-*")))
        if self.reads == 17 and died < self.times:
            (self.folder / f"died-{died}-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@dataclass(frozen=True)
class Unreadable:
    """Clips that cannot be read."""

    def __call__(self, split: str) -> Sequence[Case]:
        raise ModelError("these clips are broken", where=split)


def run(job: Job, folder: Path, told: list[int] | None = None, runtime: Runtime = RUNTIME):  # type: ignore[no-untyped-def]
    def on_epoch(epoch: Epoch) -> None:
        if told is not None:
            told.append(epoch.record["epoch"])

    return fit(job, folder, runtime=runtime, resources=RayResources(), on_epoch=on_epoch)


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_two_gloo_workers_learn_what_two_threads_do_whatever_dies_on_the_way(tmp_path: Path) -> None:
    learners, (history, _) = train_in_threads(TASK, TOY.items(), TOY.items("calibration"), world=2)
    before = signal.getsignal(signal.SIGINT)
    job = replace(JOB, items=Dying(tmp_path, times=2))
    told: list[int] = []
    with pytest.raises(ModelError, match="a training worker failed"):
        run(job, tmp_path / "state", told)  # the first death is made good, the second is one too many
    assert told == sorted(set(told))
    told.clear()
    trained = run(job, tmp_path / "state", told)
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert told == list(range(8))  # those before the checkpoint come from it
    assert trained.history == history
    for name, value in learners[0].averaged().items():
        assert torch.equal(trained.weights[name], value), name
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.bench  # a minute and a half; `test_sharding.py` compares the parts, and the test above kills workers
@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_workers_with_parts_of_the_weights_learn_the_same_though_one_dies(tmp_path: Path) -> None:
    learners, (history, _) = train_in_threads(TASK, TOY.items(), TOY.items("calibration"), world=2)
    job = replace(JOB, items=Dying(tmp_path, times=1))
    trained = run(job, tmp_path / "state", runtime=RUNTIME.model_copy(update={"shard": True}))
    assert len(list(tmp_path.glob("died-*"))) == 1
    for record, expected in zip(trained.history, history, strict=True):
        assert record == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for name, value in learners[0].averaged().items():
        assert torch.allclose(trained.weights[name], value, atol=1e-5), name


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_a_workers_own_error_is_raised_as_it_is(tmp_path: Path) -> None:
    job = replace(JOB, items=Unreadable())
    with pytest.raises(ModelError, match="train: these clips are broken"):
        run(job, tmp_path, runtime=Runtime(workers=1, max_failures=0))


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_workers_whose_gradient_is_not_finite_are_not_started_again(tmp_path: Path) -> None:
    job, clip_id = diverging(JOB, TOY)
    told: list[int] = []
    named = rf"epoch (\d), training step (\d): the gradient is not finite; .*infinite features of {clip_id}"
    with pytest.raises(DivergedError, match=named) as diverged:
        run(job, tmp_path, told)
    # The worker that turns it read it once before, in whichever epoch the clip was its own.
    found = re.search(named, str(diverged.value))
    assert found is not None
    epoch, step = map(int, found.groups())
    assert told == list(range(epoch))
    samples = TOY.clips * epoch + TRAIN.batch_clips * (step - 3 * epoch)
    assert f"the last checkpoint before it is {tmp_path}/{CHECKPOINTS}/{samples:012d}" in str(diverged.value)


def test_the_last_checkpoint_of_workers_with_a_store_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(workers=2, store=f"s3://{BUCKET}/shared")
    with object_store(monkeypatch):
        assert trainer._last_checkpoint(JOB, tmp_path, runtime) == "no checkpoint yet"
        checkpoints = JOB.checkpoints(tmp_path / "of the first worker", runtime)
        with checkpoints:
            checkpoints.take(new_learner(TASK, TOY.items()))
        assert checkpoints.copies is not None
        place = f"{checkpoints.copies.address}/{0:012d}"
        assert trainer._last_checkpoint(JOB, tmp_path, runtime) == f"the last checkpoint before it is {place}"


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_a_node_that_cannot_import_what_a_worker_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers were told of the folders of modules when Ray began; this one has come since."""
    (tmp_path / "only_the_driver_has_this.py").write_text("def items(split):\n    return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    items = importlib.import_module("only_the_driver_has_this").items
    named = r"node [\d.]+: a node .*cannot import.*No module named 'only_the_driver_has_this'.*Install the project"
    with pytest.raises(ModelError, match=named):
        run(replace(JOB, items=items), tmp_path / "state", runtime=Runtime(workers=1, max_failures=0))
