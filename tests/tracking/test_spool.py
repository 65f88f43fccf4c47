from __future__ import annotations

from pathlib import Path

from components.tracking.spool import FILES, RECORDS, Delivered, Spool


def calls(spool: Spool) -> list[str]:
    return [record["call"] for record in spool.records]


def test_records_are_there_again_also_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.append("open", 1, tags={})
    first.append("metrics", 2, values={"loss": float("nan"), "größe": 1.5}, step=0)
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
