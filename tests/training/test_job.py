from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.contracts.config import Runtime, Train
from components.training.checkpoint import STATE
from components.training.job import CHECKPOINT, Epoch, Job, fit_here
from components.training.loop import TrainingTask
from tests.model.toys import Toy, toy_spec

JOB = Job(
    task=TrainingTask(spec=toy_spec(dropout=0.2), train=Train(epochs=4, batch_clips=4), seed=3),
    items=Toy(clips=9).items,
    inputs_sha256="x",
)

RUNTIME = Runtime(workers=0, checkpoint_epochs=2)


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
    assert (tmp_path / "again" / CHECKPOINT / STATE).is_file()
    seen: list[int] = []
    resumed = fit_here(JOB, tmp_path / "again", lambda epoch: seen.append(epoch.record["epoch"]), RUNTIME)
    assert seen == [2, 3]
    assert resumed.history == whole.history
    assert all(torch.equal(value, whole.weights[name]) for name, value in resumed.weights.items())


def test_an_epoch_counts_its_steps_per_second() -> None:
    first = Epoch(record={"epoch": 0, "loss": 2.5}, seconds=2.0, steps=8)
    second = Epoch(record={"epoch": 1, "loss": 1.5}, seconds=1.0, steps=8)
    assert (first.number, second.number) == (0, 1)
    assert first.metrics == {"loss": 2.5, "steps_per_s": 4.0}
    assert second.metrics == {"loss": 1.5, "steps_per_s": 8.0}
