from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.catalog.cases import Case
from components.contracts.config import RayResources, Runtime, Train
from components.contracts.errors import DataError
from components.runtime.on_demand import OnDemand
from components.training.job import CHECKPOINTS, Epoch, Job, fit_here
from components.training.learner import DivergedError
from components.training.loop import TrainingTask
from components.training.trainer import fit
from tests.model.toys import Toy, toy_spec
from tests.training.diverging import diverging

TOY = Toy(clips=9)
JOB = Job(
    task=TrainingTask(spec=toy_spec(dropout=0.2), train=Train(epochs=4, batch_clips=4), seed=3),
    items=TOY.items,
    inputs_sha256="x",
)

RUNTIME = Runtime(workers=0, checkpoint_steps=6)


def test_equal_jobs_give_equal_bits_and_leave_the_process_alone(tmp_path: Path) -> None:
    torch.manual_seed(42)
    expected = torch.rand(1)
    torch.manual_seed(42)
    one = fit_here(JOB, tmp_path / "one", lambda epoch: None, RUNTIME)
    assert torch.equal(torch.rand(1), expected)
    other = fit_here(JOB, tmp_path / "other", lambda epoch: None, RUNTIME)
    assert one.history == other.history
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_an_interrupted_job_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole = fit_here(JOB, tmp_path / "whole", lambda epoch: None, RUNTIME)

    def stop(epoch: Epoch) -> None:
        if epoch.record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_here(JOB, tmp_path / "again", stop, RUNTIME)
    assert [path.name for path in (tmp_path / "again" / CHECKPOINTS).iterdir()] == ["000000000018"]
    seen: list[int] = []
    resumed = fit_here(JOB, tmp_path / "again", lambda epoch: seen.append(epoch.record["epoch"]), RUNTIME)
    assert seen == [0, 1, 2, 3]  # the first two come from the checkpoint
    assert resumed.history == whole.history
    assert all(torch.equal(value, whole.weights[name]) for name, value in resumed.weights.items())


def test_a_training_that_diverges_names_the_step_the_clips_and_the_last_checkpoint(tmp_path: Path) -> None:
    job, clip_id = diverging(JOB, TOY)
    named = rf"epoch 1, training step 5: the gradient is not finite; .*infinite features of {clip_id}"
    with pytest.raises(DivergedError, match=rf"{named}; the last checkpoint before it is .*{CHECKPOINTS}/0{{10}}17"):
        fit(
            job,
            tmp_path,
            runtime=RUNTIME.model_copy(update={"checkpoint_steps": 1}),
            resources=RayResources(),
            on_epoch=lambda epoch: None,
        )


@pytest.mark.parametrize("split", ["train", "calibration"])
def test_a_training_that_cannot_read_keeps_what_it_learned(tmp_path: Path, split: str) -> None:
    """Where it cannot read what is held out the epoch is half done, so none is taken there."""
    whole = fit_here(JOB, tmp_path / "whole", lambda epoch: None, RUNTIME)
    late = int(JOB.task.order(JOB.items("train")).permutation(1)[-1])

    gone = False

    def vanishing(cases: Sequence[Case]) -> OnDemand[Case]:
        def read(place: int) -> Case:
            if gone and place == late:
                raise DataError("packed clips are damaged")
            return cases[place]

        return OnDemand(read, np.arange(len(cases)))

    def lose(_: Epoch) -> None:
        nonlocal gone
        gone = True

    seldom = Runtime(workers=0, checkpoint_minutes=1e6, batches_ahead=0)
    broken = replace(JOB, items=lambda name: vanishing(JOB.items(name)) if name == split else JOB.items(name))
    with pytest.raises(DataError, match="damaged"):
        fit_here(broken, tmp_path / "again", lose, seldom)
    kept = JOB.checkpoints(tmp_path / "again", seldom).names()
    assert kept == (["000000000017"] if split == "train" else [])  # before the last batch of the second epoch
    resumed = fit_here(JOB, tmp_path / "again", lambda epoch: None, seldom)
    assert resumed.history == whole.history
    assert all(torch.equal(value, whole.weights[name]) for name, value in resumed.weights.items())


def test_an_epoch_counts_its_steps_per_second() -> None:
    assert Epoch(record={"epoch": 0, "loss": 2.5}, seconds=None, steps=8).metrics == {"loss": 2.5}
    first = Epoch(record={"epoch": 0, "loss": 2.5}, seconds=2.0, steps=8)
    second = Epoch(record={"epoch": 1, "loss": 1.5}, seconds=1.0, steps=8)
    assert (first.number, second.number) == (0, 1)
    assert first.metrics == {"loss": 2.5, "steps_per_s": 4.0}
    assert second.metrics == {"loss": 1.5, "steps_per_s": 8.0}
