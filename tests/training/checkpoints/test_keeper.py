from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest

from components.contracts.config import Runtime, Train
from components.contracts.errors import DataError
from components.training.checkpoints import keeper as checkpoints
from components.training.checkpoints.copies import Copies
from components.training.checkpoints.keeper import Checkpoints
from components.training.checkpoints.state import STATE, TENSORS
from components.training.learner import Learner
from components.training.loop import TrainingTask, new_learner, run_epochs
from tests.datasets.objects import BUCKET, object_store
from tests.model.toys import Toy, toy_spec

ITEMS = Toy(clips=6).items()
TASK = TrainingTask(spec=toy_spec(), train=Train(epochs=4, batch_clips=3), seed=5)


def kept(folder: Path, inputs_sha256: str = "x", copies: Copies | None = None, **runtime: float | None) -> Checkpoints:
    settings = Runtime(workers=0, **runtime)  # type: ignore[arg-type]
    return Checkpoints(folder, inputs_sha256=inputs_sha256, runtime=settings, copies=copies)


def trained(folder: Path, *, epochs: int, **runtime: float | None) -> Learner:
    learner = new_learner(TASK, ITEMS)
    with kept(folder, **runtime) as writing:
        list(islice(run_epochs(learner, TASK, ITEMS, [], at_boundary=writing.at_boundary), epochs))
    return learner


def samples(folder: Path) -> list[int]:
    return [int(name) for name in kept(folder).names()]


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    trained(tmp_path / "all", epochs=4, checkpoint_steps=1, checkpoints_best=9)
    assert samples(tmp_path / "all") == [24, 21, 18, 15, 12, 9, 6, 3]
    trained(tmp_path / "last", epochs=4, checkpoint_steps=1, checkpoints_best=0)
    assert samples(tmp_path / "last") == [24, 21]
    trained(tmp_path / "seldom", epochs=4, checkpoint_steps=3)
    assert samples(tmp_path / "seldom") == [18, 9]


def test_a_good_one_is_kept_while_the_loss_gets_worse(tmp_path: Path) -> None:
    learner = new_learner(TASK, ITEMS)
    with kept(tmp_path, checkpoint_steps=1, checkpoints_best=1) as writing:
        for number, loss in enumerate([3.0, 1.0, 2.0, 4.0, 5.0], start=1):
            learner.samples = number
            learner.history = [{"epoch": 0, "loss": loss}]
            writing.at_boundary(learner)
    assert samples(tmp_path) == [5, 4, 2]


def test_minutes_alone_are_enough(tmp_path: Path) -> None:
    trained(tmp_path / "soon", epochs=1, checkpoint_minutes=1e-9)
    assert samples(tmp_path / "soon") == [6, 3]
    trained(tmp_path / "late", epochs=1)
    assert samples(tmp_path / "late") == []


@pytest.mark.parametrize("harm", ["torn", "missing", "foreign"])
def test_one_that_cannot_be_used_is_passed_over_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    trained(tmp_path, epochs=2, checkpoint_steps=1)
    newest = tmp_path / f"{12:012d}"
    if harm == "torn":
        os.truncate(newest / TENSORS, 5000)
    elif harm == "missing":
        (newest / STATE).unlink()
    else:
        text = (newest / STATE).read_text()
        (newest / STATE).write_text(text.replace('"inputs_sha256": "x"', '"inputs_sha256": "y"'))
    learner = new_learner(TASK, ITEMS)
    with kept(tmp_path) as reading:
        taken = reading.load(learner)
    assert taken is not None
    assert taken.samples == learner.samples == 9
    said = capsys.readouterr().err
    assert said.count("a checkpoint is passed over for the one before it") == 1
    assert str(newest) in said


def test_a_change_of_precision_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As where a machine with a GPU is lost and one without goes on."""
    trained(tmp_path, epochs=1, checkpoint_steps=1)
    for bf16, said in ((False, ""), (True, "was trained in fp32, and training goes on in bf16")):
        learner = new_learner(TASK, ITEMS)
        learner.bf16 = bf16
        with kept(tmp_path) as reading:
            assert reading.load(learner) is not None
        heard = capsys.readouterr().err
        assert said in heard if said else heard == ""


def test_without_any_that_is_whole_it_starts_anew(tmp_path: Path) -> None:
    trained(tmp_path, epochs=1, checkpoint_steps=1)
    learner = new_learner(TASK, ITEMS)
    with kept(tmp_path, inputs_sha256="of another training") as reading:
        assert reading.load(learner) is None
    assert learner.samples == 0


def test_a_disk_that_fills_stops_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_checkpoint

    def full(folder: Path, taken: checkpoints.Snapshot) -> None:
        if taken.samples > 6:
            # A real file system that is full: every write to this device says so.
            Path("/dev/full").write_bytes(bytes(1 << 20))
        write(folder, taken)

    monkeypatch.setattr(checkpoints, "write_checkpoint", full)
    learner = trained(tmp_path, epochs=4, checkpoint_steps=1)
    assert learner.samples == 24
    assert samples(tmp_path) == [6, 3]
    said = capsys.readouterr().err
    assert said.count("a checkpoint cannot be written, training goes on without") == 1
    assert "the disk is full" in said


def test_a_training_goes_on_from_copies_where_its_disk_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is torn or cannot be reached is passed over with a word; the local ones need no store."""
    with object_store(monkeypatch) as bucket:
        copies = Copies(f"s3://{BUCKET}/state/", "training")
        learner = new_learner(TASK, ITEMS)
        with kept(tmp_path / "lost", copies=copies, checkpoint_steps=1, checkpoints_best=0) as writing:
            list(islice(run_epochs(learner, TASK, ITEMS, [], at_boundary=writing.at_boundary), 2))
        assert copies.names() == [f"{12:012d}", f"{9:012d}"] == kept(tmp_path / "lost").names()
        bucket.put(f"state/training/{12:012d}/{TENSORS}", b"torn")
        bucket.delete(f"state/training/{9:012d}/{STATE}")
        bucket.put_tree(tmp_path / "lost" / f"{9:012d}", f"state/training/{9:012d}")
        again = new_learner(TASK, ITEMS)
        with kept(tmp_path / "new", copies=copies) as reading:
            reading.load(again)
        assert again.samples == 9
        assert "passed over" in capsys.readouterr().err
        kept(tmp_path / "new", copies=copies).forget()
        assert copies.names() == []
    with kept(tmp_path / "lost", copies=copies, checkpoint_steps=1) as writing:
        writing.at_boundary(again)
    assert "training goes on without" in capsys.readouterr().err
    with kept(tmp_path / "lost", copies=copies) as reading, pytest.raises(DataError, match="failed to answer"):
        reading.load(again)


def test_a_store_that_may_be_read_alone_gets_no_copies_and_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with object_store(monkeypatch) as bucket:
        copies = Copies(f"s3://{BUCKET}/state", "training")
        bucket.permit(monkeypatch, "ListBucket", "GetObject")
        learner = new_learner(TASK, ITEMS)
        with kept(tmp_path, copies=copies, checkpoint_steps=1) as writing:
            list(run_epochs(learner, TASK, ITEMS, [], at_boundary=writing.at_boundary))
        assert learner.samples == 24
        assert samples(tmp_path)[:2] == [24, 21]  # on this disk
        assert copies.names() == []
    said = capsys.readouterr().err
    assert said.count("training goes on without") == 1
    assert f"s3://{BUCKET}/state/training/" in said
    assert "the object store denies access" in said
