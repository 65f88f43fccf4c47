"""Folders of numbered pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.contracts.errors import MediaError
from components.datasets.content import HashCache
from components.media.numbered import numbered_pictures, pictures_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("00010.jpg", "00002.JPG", "3.png", "notes.txt", "00004.jpg.part"):
        (pictures / name).write_bytes(name.encode())
    (pictures / "00009.jpg").mkdir()
    return pictures


def test_numbers_are_those_of_the_names_and_other_files_are_none(folder: Path) -> None:
    assert {number: path.name for number, path in numbered_pictures(folder).items()} == {
        2: "00002.JPG",
        3: "3.png",
        10: "00010.jpg",
    }
    assert list(numbered_pictures(folder)) == [2, 3, 10]


@pytest.mark.parametrize(
    ("names", "code"),
    [((), "no-pictures"), (("00000.jpg", "00001.jpg"), "bad-name"), (("1.jpg", "00001.jpg"), "duplicate-picture")],
)
def test_what_is_no_sequence_from_1_is_refused(tmp_path: Path, names: tuple[str, ...], code: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(MediaError) as refused:
        numbered_pictures(tmp_path)
    assert refused.value.code == code


def test_a_folder_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as refused:
        pictures_sha256(tmp_path / "nowhere")
    assert refused.value.code == "missing-file"


def test_the_hash_follows_numbers_and_bytes_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = pictures_sha256(folder)
    (folder / "notes.txt").write_text("other words")
    (folder / "3.png").rename(folder / "00003.png")
    assert pictures_sha256(folder) == first
    seen = {first}
    (folder / "00010.jpg").write_bytes(b"another face")
    seen.add(pictures_sha256(folder))
    (folder / "00010.jpg").rename(folder / "00011.jpg")
    seen.add(pictures_sha256(folder))
    (folder / "00011.jpg").unlink()
    seen.add(pictures_sha256(folder))
    assert len(seen) == 4


def test_the_cache_reads_a_folder_again_when_one_of_its_pictures_changed(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "hashes.json"
    cache = HashCache(store)
    first = cache(folder)
    cache.save()
    status = (folder / "3.png").stat()
    (folder / "3.png").write_bytes(b"3.pnG")
    os.utime(folder / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert HashCache(store)(folder) == first  # size and time are all it looks at
    os.utime(folder / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert HashCache(store)(folder) == pictures_sha256(folder) != first
