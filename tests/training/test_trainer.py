from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from components.contracts.config import RayResources, Train
from components.contracts.errors import ModelError
from components.training.items import Item
from components.training.job import Epoch, Job, fit_here
from components.training.loop import Task
from components.training.trainer import fit
from tests.model.toys import Toy, toy_spec

TRAIN = Train(workers=2, epochs=4, batch_clips=4, checkpoint_epochs=1, max_failures=1)
TASK = Task(spec=toy_spec(modality_dropout=0.3), train=TRAIN, seed=3)
JOB = Job(task=TASK, items=Toy(clips=9).items, inputs_sha256="x")


@dataclass(frozen=True)
class DyingOnce:
    """Clips that end one worker's process, once, when they are read the second time: in the middle of training."""

    marker: Path

    def __call__(self, split: str) -> Sequence[Item]:
        return _Dying(Toy(clips=9).items(split), self.marker if split == "train" else None)


class _Dying(list[Item]):
    def __init__(self, items: list[Item], marker: Path | None) -> None:
        super().__init__(items)
        self.marker, self.reads = marker, 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self.reads += 1
        if self.marker is not None and self.reads > 12 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@dataclass(frozen=True)
class Unreadable:
    """Clips that cannot be read."""

    def __call__(self, split: str) -> Sequence[Item]:
        raise ModelError("these clips are broken", where=split)


def run(job: Job, folder: Path, told: list[int] | None = None):  # type: ignore[no-untyped-def]
    def on_epoch(epoch: Epoch) -> None:
        if told is not None:
            told.append(epoch.record["epoch"])

    return fit(job, folder, resources=RayResources(), on_epoch=on_epoch)


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_two_gloo_workers_learn_what_one_process_does_whatever_is_lost_on_the_way(tmp_path: Path) -> None:
    told: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    two = run(JOB, tmp_path / "two", told)
    assert told == [0, 1, 2, 3]
    here = fit_here(JOB, tmp_path / "here", lambda epoch: None)
    for name, value in here.weights.items():
        assert torch.allclose(two.weights[name], value, atol=1e-4), name
    for one, other in zip(two.history, here.history, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)

    assert signal.getsignal(signal.SIGINT) is before

    told.clear()
    survived = run(replace(JOB, items=DyingOnce(tmp_path / "died")), tmp_path / "dying", told)
    assert (tmp_path / "died").exists()
    assert told == [0, 1, 2, 3]
    assert survived.history == two.history
    assert all(torch.equal(value, survived.weights[name]) for name, value in two.weights.items())

    no_retry = replace(TASK, train=TRAIN.model_copy(update={"max_failures": 0}))
    lost = replace(JOB, task=no_retry, items=DyingOnce(tmp_path / "lost"))
    with pytest.raises(ModelError, match="a training worker failed"):
        run(lost, tmp_path / "again")
    told.clear()
    resumed = run(lost, tmp_path / "again", told)
    assert told[0] > 0
    assert told[-1] == 3
    assert resumed.history == two.history
    assert all(torch.equal(value, resumed.weights[name]) for name, value in two.weights.items())


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_a_workers_own_error_is_raised_as_it_is(tmp_path: Path) -> None:
    job = replace(JOB, items=Unreadable(), task=replace(TASK, train=TRAIN.model_copy(update={"max_failures": 0})))
    with pytest.raises(ModelError, match="train: these clips are broken"):
        run(job, tmp_path)
