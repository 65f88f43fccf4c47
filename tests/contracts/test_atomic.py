from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from components.contracts.atomic import atomic_dir, atomic_file, read_json, write_json, write_table


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half() -> None:
        with atomic_file(path) as beside:
            beside.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for text in ("one", "two"):
        with atomic_dir(folder) as beside:
            (beside / f"{text}.txt").write_text(text)
    assert [entry.name for entry in folder.iterdir()] == ["two.txt"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_folder_is_on_the_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced_file(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    def replaced(one: Path, other: Path) -> None:
        assert sorted(synced[:-1]) == ["sub", "x.txt", "y.txt"]
        assert synced[-1] == one.name  # the folder itself, which has their names
        replace(one, other)

    monkeypatch.setattr(os, "fsync", synced_file)
    monkeypatch.setattr(os, "replace", replaced)
    with atomic_dir(tmp_path / "out", synced=True) as beside:
        (beside / "sub").mkdir()
        (beside / "sub" / "x.txt").write_text("x")
        (beside / "y.txt").write_text("y")
    assert (tmp_path / "out" / "sub" / "x.txt").read_text() == "x"


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})
    assert not list(tmp_path.iterdir())


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": ["ü"]})
    assert read_json(tmp_path / "a.json") == {"a": ["ü"], "b": 1}


def test_equal_tables_have_equal_bytes(tmp_path: Path) -> None:
    table = pa.table({"x": list(range(100))})
    write_table(tmp_path / "a.parquet", table)
    write_table(tmp_path / "b.parquet", table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
