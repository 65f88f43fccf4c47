from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.datasets import remote
from components.training.epochs import Progress, ProgressFile, ProgressObjects, epochs_reported
from components.training.job import Epoch
from tests.datasets.objects import BUCKET, object_store
from tests.small_disk import fill, small_disk

PLACE = remote.place_of(f"s3://{BUCKET}/run/progress", where="store")


def epoch(number: int) -> Epoch:
    return Epoch(record={"epoch": number, "loss": 1.0 / (number + 1)}, seconds=0.5, steps=3, parts={"forward": 0.1})


def check(writer: Progress, reader: Progress) -> None:
    """Each epoch arrives once, in order, also where a worker that was replaced tells some again."""
    reported: list[Epoch] = []
    writer.append(epoch(7))
    reader.clear()
    with epochs_reported(reader, reported.append) as state:
        for number in (0, 1, 0, 1, 2):
            writer.append(epoch(number))
    assert reported == [epoch(0), epoch(1), epoch(2)]
    assert state.last == 2


def test_lines_of_a_file(tmp_path: Path) -> None:
    check(ProgressFile(tmp_path / "progress"), ProgressFile(tmp_path / "progress"))


def test_objects_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(monkeypatch) as bucket:
        bucket.clear()
        check(ProgressObjects(PLACE), ProgressObjects(PLACE))


def test_a_store_that_is_away_costs_no_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it did not take comes with the next, in order; each end says so once."""
    writer, reader = ProgressObjects(PLACE), ProgressObjects(PLACE)
    with object_store(monkeypatch) as bucket:
        bucket.clear()
        writer.append(epoch(0))
        assert list(reader.news()) == [epoch(0)]
    for number in (1, 2):
        writer.append(epoch(number))
        assert list(reader.news()) == []
    said = capsys.readouterr().err
    assert said.count("an epoch cannot be told of, training goes on") == 1
    assert said.count("epochs cannot be read, training goes on") == 1
    with object_store(monkeypatch):
        writer.append(epoch(3))
        assert list(reader.news()) == [epoch(1), epoch(2), epoch(3)]
    with pytest.raises(DataError):
        reader.clear()


def test_a_full_disk_costs_no_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What had no room comes with the next, in order and whole."""
    with small_disk(tmp_path / "disk", kib=64) as disk:
        writer, reader = ProgressFile(disk / "progress"), ProgressFile(disk / "progress")
        writer.append(epoch(0))
        filler = fill(disk)
        for number in range(1, 101):  # the page of the first has room for some more
            writer.append(epoch(number))
        few = [told.number for told in reader.news()]
        assert few == list(range(len(few)))
        assert 0 < len(few) < 100
        filler.unlink()
        writer.append(epoch(101))
        assert [told.number for told in reader.news()] == list(range(len(few), 102))
    said = capsys.readouterr().err
    assert said.count("an epoch cannot be told of, training goes on") == 1
    assert "the disk is full" in said


def test_an_error_of_the_caller_is_raised_where_the_training_ends(tmp_path: Path) -> None:
    progress = ProgressFile(tmp_path / "progress")

    def broken(_: Epoch) -> None:
        raise ValueError("no room in the log")

    with pytest.raises(ValueError, match="no room in the log"), epochs_reported(progress, broken):
        progress.append(epoch(0))
