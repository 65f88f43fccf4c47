from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.tracking.spool import FILES, RECORDS, Delivered, Spool
from tests.small_disk import fill, small_disk

METRICS = 60


def calls(spool: Spool) -> list[str]:
    return [record["call"] for record in spool.records]


def test_records_are_there_again_also_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.append("open", 1, tags={})
    first.append("metrics", 2, values={"loss": float("nan"), "größe\u2028": 1.5}, step=0)
    path = tmp_path / RECORDS
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"call": "metr')
    again = Spool(tmp_path)
    assert calls(again) == ["open", "metrics"]
    assert again.name == first.name
    assert path.read_bytes() == whole
    again.append("end", 3, status="FINISHED")
    assert calls(Spool(tmp_path)) == ["open", "metrics", "end"]


def test_a_value_of_a_step_is_recorded_once(tmp_path: Path) -> None:
    Spool(tmp_path).append("metrics", 1, values={"loss": 2.0}, step=4)
    spool = Spool(tmp_path)
    assert spool.new_values({"loss": 1.0, "refit_loss": 3.0}, 4) == {"refit_loss": 3.0}
    assert spool.new_values({"loss": 1.0}, 5) == {"loss": 1.0}


def test_it_counts_what_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append("open", 1)
    spool.append("params", 1, values={"a": 1})
    assert (spool.delivered, spool.waiting, spool.params) == (None, 2, {"a": 1})
    spool.note(Delivered(uri="sqlite:///x", run_id="r", records=1))
    again = Spool(tmp_path)
    assert (again.delivered, again.waiting, again.params) == (spool.delivered, 1, {"a": 1})


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    places = []
    for number in range(2):
        places.append(spool.keep("page.html"))
        spool.append("file", number)
    assert places[0] != places[1]
    assert all(place.parent.is_dir() and place.is_relative_to(tmp_path / FILES) for place in places)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", kib=64) as folder:
        yield folder


def full(disk: Path) -> Spool:
    """A spool of which the last records had no room; the page of the first has some for a few."""
    spool = Spool(disk / "spool")
    spool.append("open", 0)
    fill(disk)
    for step in range(METRICS):
        spool.append("metrics", step, values={"loss": 1.0}, step=step)
    return spool


def test_what_has_no_room_waits_in_memory_and_is_not_delivered_until_it_has(disk: Path) -> None:
    spool = full(disk)
    assert "the disk is full" in str(spool.full)
    assert len(spool.records) == 1 + METRICS
    assert spool.ready == spool.waiting == len(Spool(disk / "spool").records) < METRICS
    (disk / "filler").unlink()
    spool.append("metrics", METRICS, values={"loss": 1.0}, step=METRICS)
    assert spool.full is None
    assert spool.ready == 2 + METRICS
    assert Spool(disk / "spool").records == spool.records


@pytest.mark.parametrize("done", [True, False])
def test_at_the_end_all_is_delivered_but_metrics_that_are_recorded_again(disk: Path, done: bool) -> None:
    spool = full(disk)
    on_disk = spool.ready
    spool.append("end", METRICS, status="FINISHED" if done else "FAILED")
    spool.settle(done=done)
    assert spool.ready == (2 + METRICS if done else on_disk + 1)
    assert calls(spool)[-1] == "end"
    spool.note(Delivered(uri="sqlite:///x", run_id="r", records=spool.ready))
    assert spool.waiting == 0
    (disk / "filler").unlink()
    spool.note(Delivered(uri="sqlite:///x", run_id="r", records=spool.ready))
    # The next process counts what it has itself: nothing that it records is taken for delivered.
    again = Spool(disk / "spool")
    assert (len(again.records), again.waiting) == (on_disk, 0)
    again.append("open", METRICS)
    assert again.waiting == 1
