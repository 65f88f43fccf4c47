from __future__ import annotations

from pathlib import Path

import pytest

from components.datasets.base import SOUND, VIDEO, files_below, media_files
from components.datasets.litter import litter
from components.datasets.unused import unused_files

LITTER = {
    "AppleDouble (._*)": ["._a.wav", "fear/ann/._b.mp4"],
    "__MACOSX": ["__MACOSX/a.wav", "__MACOSX/fear/._a.wav"],
    "desktop files": [".DS_Store", "fear/Thumbs.db", "desktop.ini", "@eaDir/a.wav/SYNO", "$RECYCLE.BIN/a.mp4"],
    "hidden files": [".hidden.wav", ".git/a.mp4", ".downloads/set.zip"],
}


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_litter_is_never_a_clip(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "fear/b.mp4", *(name for names in LITTER.values() for name in names))
    expected = [tmp_path / "a.wav", tmp_path / "fear" / "b.mp4"]
    assert media_files(tmp_path, VIDEO + SOUND) == expected
    assert sorted(files_below(tmp_path)) == expected


@pytest.mark.parametrize("name", ["a.wav", "notes.txt", "icon.png", "fear", "macosx", "a.DS_Store", "_a.wav"])
def test_other_names_are_no_litter(name: str) -> None:
    assert litter(name) is None


def test_what_nothing_uses_is_counted_by_suffix(tmp_path: Path) -> None:
    make(tmp_path, "fear/a.wav", "fear/A.XYZ", "b.xyz", "notes", "labels/one.txt", "other/one.txt", "crops/1.jpg")
    make(tmp_path, *(name for names in LITTER.values() for name in names))
    used = [tmp_path / "x" / ".." / "fear" / "a.wav"]
    unused = unused_files([tmp_path], used, ["labels/*.txt"], [tmp_path / "crops"])
    counts = {kind: files.count for kind, files in unused.items()}
    assert counts == {".xyz": 2, ".txt": 1, "without a suffix": 1, **{kind: len(LITTER[kind]) for kind in LITTER}}
    assert unused[".xyz"].example == str(tmp_path / "b.xyz")


@pytest.mark.parametrize("suffix", [".wma", ".mka", ".weba", ".m2ts", ".ogv"])
def test_formats_that_are_readable_are_listed(tmp_path: Path, suffix: str) -> None:
    make(tmp_path, f"a{suffix}", f"B{suffix.upper()}")
    assert len(media_files(tmp_path, VIDEO + SOUND)) == 2
