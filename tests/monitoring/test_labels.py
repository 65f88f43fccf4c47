from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.monitoring.labels import read_labels


def test_answers_and_labels_of_a_table_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "clips.csv"
    file.write_text("clip,emotion,label\na,anger,anger\nb,fear,anger\nc,,fear\nd,anger,\n")
    counted = {"correct": {"right": 1, "wrong": 2}, "label": {"anger": 2, "fear": 1}}
    assert read_labels(file).tables == counted
    file.write_text(file.read_text().replace(",", ";"))  # as spreadsheets write it
    assert read_labels(file).tables == counted


def test_what_is_not_such_a_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "clips.csv"
    file.write_text("clip,emotion\na,anger\n")
    with pytest.raises(DataError, match="the label table has no column label"):
        read_labels(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_labels(file)
    file.write_text("clip,emotion,label\na,anger,anger\nwell, then,fear,anger\n")
    with pytest.raises(DataError, match=r"clips\.csv line 3"):
        read_labels(file)
    with pytest.raises(DataError):
        read_labels(tmp_path / "none.csv")
