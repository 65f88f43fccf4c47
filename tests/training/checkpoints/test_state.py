from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from components.contracts.config import Train
from components.contracts.errors import ModelError
from components.training.checkpoints.state import STATE, TENSORS, load_checkpoint, snapshot, write_checkpoint
from components.training.loop import TrainingTask, new_learner, run_epochs, train_steps
from tests.model.toys import Toy, rated, toy_spec

ITEMS = rated(Toy(clips=11).items())
HELD_OUT = Toy(clips=4).items("calibration")
TASK = TrainingTask(
    spec=replace(toy_spec(dropout=0.3, modality_dropout=0.4), valence_arousal=True, embedding=5),
    train=Train(
        epochs=4,
        batch_clips=4,
        max_steps_per_clip=15,
        feature_noise=0.1,
        contrastive_loss=0.3,
        contrastive_text="learned",
    ),
    seed=5,
)


@pytest.mark.parametrize("steps_before", [0, 1, 3, 7])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(tmp_path: Path, steps_before: int) -> None:
    whole = new_learner(TASK, ITEMS)
    history = list(run_epochs(whole, TASK, ITEMS, HELD_OUT))
    first = new_learner(TASK, ITEMS)
    # The records of finished epochs are made by run_epochs, so the interruption is made by stopping *it*.
    epochs_before, rest = divmod(steps_before, 3)
    list(islice(run_epochs(first, TASK, ITEMS, HELD_OUT), epochs_before))
    list(islice(train_steps(first, TASK, ITEMS), rest))
    write_checkpoint(tmp_path / "state", snapshot(first, inputs_sha256="x"))
    torch.manual_seed(999)
    second = new_learner(TASK, ITEMS)
    load_checkpoint(tmp_path / "state", second, inputs_sha256="x")
    list(run_epochs(second, TASK, ITEMS, HELD_OUT))
    assert second.history == history
    assert len(history) == 4
    for name in whole.parameters:
        assert torch.equal(second.parameters[name], whole.parameters[name]), name
        assert torch.equal(second.ema[name], whole.ema[name]), name


def saved(tmp_path: Path) -> Path:
    learner = new_learner(TASK, ITEMS)
    list(islice(train_steps(learner, TASK, ITEMS), 2))
    write_checkpoint(tmp_path / "state", snapshot(learner, inputs_sha256="x"))
    return tmp_path / "state"


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is of a different training"):
        load_checkpoint(saved(tmp_path), new_learner(TASK, ITEMS), inputs_sha256="y")


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    wider = TrainingTask(spec=toy_spec(width=32), train=TASK.train, seed=5)
    with pytest.raises(ModelError, match="does not fit the model"):
        load_checkpoint(saved(tmp_path), new_learner(wider, ITEMS), inputs_sha256="x")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "state torn": lambda folder: (folder / STATE).write_text("{"),
    "state is a list": lambda folder: (folder / STATE).write_text("[1]"),
    "state missing": lambda folder: (folder / STATE).unlink(),
    "tensors torn": lambda folder: os.truncate(folder / TENSORS, 3000),
    "tensors empty": lambda folder: (folder / TENSORS).write_bytes(b""),
    "tensors missing": lambda folder: (folder / TENSORS).unlink(),
    "a bit flipped": lambda folder: flipped(folder / TENSORS),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_a_model_error_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    folder = saved(tmp_path)
    DAMAGE[damage](folder)
    learner = new_learner(TASK, ITEMS)
    before = learner.averaged()
    with pytest.raises(ModelError, match=r"cannot read the checkpoint|the checkpoint is damaged"):
        load_checkpoint(folder, learner, inputs_sha256="x")
    assert learner.samples == 0
    assert all(torch.equal(value, before[name]) for name, value in learner.averaged().items())


def test_saving_replaces_the_one_before(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    learner = new_learner(TASK, ITEMS)
    list(islice(train_steps(learner, TASK, ITEMS), 3))
    write_checkpoint(folder, snapshot(learner, inputs_sha256="x"))
    assert json.loads((folder / STATE).read_text())["samples"] == 11
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]
