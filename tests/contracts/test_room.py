"""A full disk, filled for real, met by every library that writes."""

from __future__ import annotations

import errno
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.contracts.atomic import atomic_dir, atomic_file, write_json, write_table
from components.contracts.codes import Code
from components.contracts.errors import DataError, UnavailableError
from components.contracts.room import full_disk_named, is_full, no_room
from tests.small_disk import fill, small_disk

BYTES = bytes(1 << 20)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with 64 KiB left."""
    with small_disk(tmp_path_factory.mktemp("disk"), kib=1024) as folder:
        fill(folder, leaving_kib=64)
        yield folder


def by_python(folder: Path) -> None:
    (folder / "file").write_bytes(BYTES)


def by_copying(folder: Path) -> None:
    source = folder.parent / "large"
    source.write_bytes(BYTES)
    shutil.copyfile(source, folder / "copy")


def by_arrow(folder: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": np.random.default_rng(0).random(1 << 17)}), folder / "table.parquet")


def by_safetensors(folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(1 << 20)}, folder / "weights.safetensors")


def by_sqlite(folder: Path) -> None:
    with sqlite3.connect(folder / "some.db") as database:
        database.execute("CREATE TABLE rows (content BLOB)")
        database.execute("INSERT INTO rows VALUES (?)", (BYTES,))


@pytest.mark.parametrize("write", [by_python, by_copying, by_arrow, by_safetensors, by_sqlite])
def test_every_writer_of_ours_gives_one_error_that_names_the_disk(disk: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(UnavailableError) as full, full_disk_named(disk):
        write(disk)
    error = full.value
    assert (error.code, error.exit_code) == (Code.NO_ROOM, 7)
    assert error.what == "the disk is full"
    assert error.where == str(disk)
    assert "of 1 MiB free" in str(error.seen)
    for path in disk.iterdir():
        if path.name != "filler":
            path.unlink()


def test_what_is_written_atomically_stays_as_it_was(disk: Path) -> None:
    kept = disk / "kept.json"
    write_json(kept, {"a": 1})
    for write in (
        lambda: write_json(kept, {"a": "b" * (1 << 20)}),
        lambda: write_table(disk / "t.parquet", pa.table({"x": np.random.default_rng(0).random(1 << 17)})),
        lambda: _folder(disk / "folder"),
    ):
        with pytest.raises(UnavailableError, match="the disk is full"):
            write()
    assert kept.read_text() == '{\n  "a": 1\n}\n'
    assert sorted(path.name for path in disk.iterdir()) == ["filler", "kept.json"]


def _folder(path: Path) -> None:
    with atomic_dir(path) as beside:
        (beside / "inside").write_bytes(BYTES)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
        RuntimeError("ray::AlignBatch() ... OSError: [Errno 28] No space left on device"),
        DataError("the store refused", seen="500: No space left on device"),
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/']"),
    ],
)
def test_in_whatever_words_it_comes(error: Exception, tmp_path: Path) -> None:
    last = ValueError("what came of it")
    last.__cause__ = error
    assert is_full(last)
    full = no_room(last, [tmp_path])
    assert full is not None
    assert full.code == Code.NO_ROOM
    assert not is_full(ValueError("what came of it"))
    assert no_room(OSError(errno.EACCES, "Permission denied"), [tmp_path]) is None


def test_the_file_that_was_written_says_which_disk_it_was(tmp_path: Path) -> None:
    to = tmp_path / "to" / "missing" / "file"
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / ".new.1234.tmp").mkdir()
    for place in (to, tmp_path / "to" / ".new.1234.tmp" / "file"):
        full = no_room(OSError(errno.ENOSPC, "No space left on device", "from/file", None, str(place)), [Path("/")])
        assert full is not None
        assert full.where == str(tmp_path / "to")


def test_it_is_told_once_and_crosses_processes(tmp_path: Path) -> None:
    first = no_room(OSError(errno.ENOSPC, "No space left on device"), [tmp_path])
    assert first is not None
    with pytest.raises(UnavailableError) as again, full_disk_named(Path("/")):
        raise first
    assert again.value is first
    assert no_room(pickle.loads(pickle.dumps(first)), [Path("/")]).fields == first.fields  # type: ignore[union-attr]
    with pytest.raises(UnavailableError) as full, atomic_file(tmp_path / "x"), full_disk_named(tmp_path / "inner"):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "inner" / "y"))
    assert full.value.where == str(tmp_path)
