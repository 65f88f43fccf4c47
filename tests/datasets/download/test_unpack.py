from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.contracts.errors import DataError, UnavailableError
from components.datasets.download.unpack import unpack


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, entries: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("make", [zipped, tarred])
def test_files_land_in_the_folder_and_a_second_time_change_nothing(make: Callable[..., Path], tmp_path: Path) -> None:
    archive = make(tmp_path / ("a.zip" if make is zipped else "a.tar.gz"), {"top/x/1.wav": b"1", "top/2.csv": b"2"})
    out = tmp_path / "corpus"
    out.mkdir()
    (out / "mine.txt").write_text("stays")
    for _ in range(2):
        assert sorted(unpack(archive, out, strip=1)) == ["2.csv", "x/1.wav"]
        assert names(out) == ["2.csv", "mine.txt", "x/1.wav"]
    assert len(unpack(archive, tmp_path / "whole")) == 2
    assert names(tmp_path / "whole") == ["top/2.csv", "top/x/1.wav"]


def test_archives_in_the_archive_are_unpacked_where_they_lie(tmp_path: Path) -> None:
    inner = tarred(tmp_path / "train.tar.gz", {"train_splits/dia0_utt0.mp4": b"x"}).read_bytes()
    outer = tarred(tmp_path / "MELD.Raw.tar.gz", {"MELD.Raw/train.tar.gz": inner, "MELD.Raw/README.txt": b"r"})
    found = unpack(outer, tmp_path / "meld", strip=1)
    assert sorted(found) == names(tmp_path / "meld") == ["README.txt", "train_splits/dia0_utt0.mp4"]


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_that_leads_out_is_refused_and_nothing_is_kept(
    make: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    archive = make(tmp_path / ("a.zip" if make is zipped else "a.tar.gz"), {"good.txt": b"1", name: b"2"})
    with pytest.raises(DataError, match="cannot be unpacked safely") as caught:
        unpack(archive, tmp_path / "deep" / "corpus")
    assert caught.value.code == "archive"
    assert names(tmp_path / "deep") == []


@pytest.mark.parametrize(("kind", "target"), [(tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "../../x")])
def test_a_link_that_leads_out_is_refused(kind: bytes, target: str, tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = kind, target
    with pytest.raises(DataError):
        unpack(tarred(tmp_path / "a.tar.gz", {"good.txt": b"1"}, link), tmp_path / "corpus")
    assert names(tmp_path / "corpus") == []


def test_a_device_and_a_link_in_a_zip_are_refused(tmp_path: Path) -> None:
    device = tarfile.TarInfo("null")
    device.type = tarfile.CHRTYPE
    with pytest.raises(DataError):
        unpack(tarred(tmp_path / "a.tar.gz", {}, device), tmp_path / "corpus")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "corpus")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_bomb_is_found_before_it_is_written(make: Callable[..., Path], tmp_path: Path) -> None:
    archive = make(tmp_path / ("a.zip" if make is zipped else "a.tar.gz"), {"zeros.wav": bytes(60_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(DataError, match="times the archive's size"):
        unpack(archive, tmp_path / "corpus")
    assert names(tmp_path / "corpus") == []


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.datasets.download.unpack.MAX_ENTRIES", 3)
    with pytest.raises(DataError, match="at most 3 entries"):
        unpack(zipped(tmp_path / "a.zip", {f"{number}": b"" for number in range(4)}), tmp_path / "corpus")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_half_an_archive_is_refused_and_nothing_is_kept(make: Callable[..., Path], tmp_path: Path) -> None:
    archive = make(
        tmp_path / ("a.zip" if make is zipped else "a.tar.gz"), {f"{n}.txt": bytes([n]) * 999 for n in range(50)}
    )
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be unpacked safely"):
        unpack(archive, tmp_path / "corpus")
    assert names(tmp_path / "corpus") == []


def test_a_web_page_in_the_place_of_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>Sign in</html>")
    with pytest.raises(DataError, match="BadZipFile"):
        unpack(tmp_path / "a.zip", tmp_path / "corpus")


def test_a_disk_without_room_is_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"a": bytes(1000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UnavailableError, match="the disk has too little room"):
        unpack(archive, tmp_path / "corpus")
