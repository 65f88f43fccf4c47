from __future__ import annotations

from pathlib import Path

from components.datasets.pairing import pair
from components.datasets.table import read_labels


def test_labels_without_clips_and_clips_without_labels_are_both_kept(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("\ufefffile,mood\na.wav, joyful \nlost.wav,down\na.wav,down\n", encoding="utf-8")
    labels = read_labels(table, key="file", columns=("mood",), dataset="box")
    files = {name: tmp_path / name for name in ("a.wav", "extra.wav")}
    pairs = pair(labels, files, key="file", dataset="box", table="labels.csv")
    assert {name: row["mood"] for name, (row, _) in pairs.matched.items()} == {"a.wav": "joyful"}
    found = {row.code: row for row in pairs.quarantined}
    assert set(found) == {"label-without-clip", "clip-without-label", "duplicate-label"}
    assert "labels.csv line 3" in found["label-without-clip"].message
    assert "lost.wav" in found["label-without-clip"].clip_id
    assert "labels.csv line 4" in found["duplicate-label"].message
    assert found["clip-without-label"].path == str(tmp_path / "extra.wav")


def test_a_row_finds_its_file_in_any_spelling(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text('file,mood\nJos\u00e9.wav,joyful\n7.0,down\n\u200bann  b.wav ,cross\n"bad\n', encoding="utf-8")
    labels = read_labels(table, key="file", columns=("mood",), dataset="box")
    files = {name: tmp_path / name for name in ("Jose\u0301.wav", "7", "ann b.wav", "Jos\u00e9.wav")}
    pairs = pair(labels, files, key="file", dataset="box", table="labels.csv")
    assert sorted(row["mood"] for row, _ in pairs.matched.values()) == ["cross", "down", "joyful"]
    assert [row.code for row in pairs.quarantined] == ["bad-label", "clip-without-label"]
