from __future__ import annotations

import pickle

import pytest

from components.contracts.errors import ConfigError, MediaError, MerError, nearest
from components.contracts.records import Quarantined


def test_a_message_says_what_where_seen_allowed_and_what_to_do() -> None:
    error = MediaError("no moov box", where="tiny/a", seen="ftyp", allowed="a whole mp4", remedy="Copy it again")
    assert str(error) == "tiny/a: no moov box; seen 'ftyp'; allowed: a whole mp4. Copy it again"


def test_an_error_crosses_a_process_whole() -> None:
    error = MediaError("no moov box", where="tiny/a", seen=3, allowed="x", remedy="y", code="truncated")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is MediaError
    assert (str(back), back.code, back.seen) == (str(error), "truncated", 3)


def test_an_error_is_said_of_another_place_with_all_else_as_it_was() -> None:
    error = MediaError("no moov box", where="/data/a.mp4", seen=3, allowed="x", remedy="y", code="truncated")
    moved = error.at("tiny/a")
    assert type(moved) is MediaError
    assert moved.fields == {**error.fields, "where": "tiny/a"}
    assert str(moved) == str(error).replace("/data/a.mp4", "tiny/a")


def test_exit_codes_differ_by_branch() -> None:
    codes = {cls: cls.exit_code for cls in MerError.__subclasses__()}
    assert len(set(codes.values())) == len(codes)
    assert 0 not in codes.values()
    assert MerError("x").exit_code == 1
    assert ConfigError("x").exit_code == 2


def test_an_unknown_name_is_said_with_those_that_are_known() -> None:
    error = ConfigError.unknown("dataset", "ravdes", ("synthetic", "ravdess"), where="datasets")
    assert str(error) == (
        "datasets: unknown dataset; seen 'ravdes'; allowed: synthetic, ravdess. Did you mean 'ravdess'?"
    )


@pytest.mark.parametrize(("name", "hint"), [("ravdes", "Did you mean 'ravdess'?"), ("zzz", "")])
def test_nearest(name: str, hint: str) -> None:
    assert nearest(name, ["ravdess", "synthetic"]) == hint


def test_an_error_becomes_a_quarantine_row() -> None:
    error = MediaError("zero bytes", where="tiny/a", seen=0, remedy="Copy it again", code="zero-byte")
    row = Quarantined.from_error(error, dataset="tiny", clip_id="tiny/a", stage="datasets", path="a.mp4")
    assert (row.code, row.seen, row.remedy) == ("zero-byte", "0", "Copy it again")
