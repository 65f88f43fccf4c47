from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.datasets.pairing import pair, read_labels


def test_labels_without_clips_and_clips_without_labels_are_both_kept(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("\ufefffile,mood\na.wav, joyful \nlost.wav,down\na.wav,down\n", encoding="utf-8")
    rows = read_labels(table, key="file", columns=("mood",), dataset="box")
    files = {name: tmp_path / name for name in ("a.wav", "extra.wav")}
    pairs = pair(rows, files, key="file", dataset="box", table="labels.csv")
    assert {name: row["mood"] for name, (row, _) in pairs.matched.items()} == {"a.wav": "joyful"}
    found = {row.code: row for row in pairs.quarantined}
    assert set(found) == {"label-without-clip", "clip-without-label", "duplicate-label"}
    assert "labels.csv line 3" in found["label-without-clip"].message
    assert "lost.wav" in found["label-without-clip"].clip_id
    assert "labels.csv line 4" in found["duplicate-label"].message
    assert found["clip-without-label"].path == str(tmp_path / "extra.wav")


def test_a_table_that_is_not_there_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the label table.*labels\.csv"):
        read_labels(tmp_path / "labels.csv", key="file", columns=(), dataset="box")
    (tmp_path / "labels.csv").write_text("file,feeling\n")
    with pytest.raises(DataError, match=r"no column mood.*feeling.*allowed: file, mood"):
        read_labels(tmp_path / "labels.csv", key="file", columns=("mood",), dataset="box")
