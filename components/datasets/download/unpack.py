"""Unpacking of untrusted archives: nothing is written outside the folder, and nothing exceeds its stated size.

The standard library does the careful part: `tarfile`'s filter "data" (PEP 706) refuses names and links that lead out of
the folder and everything that is not a file or folder; `zipfile` yields no more than an entry's stated size and checks
its CRC. In addition, entries and bytes are counted before anything is written, and files appear only when complete.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.datasets.download.fetch import SPARE_BYTES, no_room

MAX_RATIO = 200  # text compresses tenfold, silence more; an archive bomb a thousandfold
MAX_ENTRIES = 1_000_000
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def unpack(archive: Path, folder: Path, *, strip: int = 0) -> list[str]:
    """Unpacks an archive, and the archives in it, into a folder.

    Args:
        strip: this many leading folders of each name are left out, in the outer archive.

    Returns:
        The files it contained, as names below the folder. Files of the same names are replaced.

    Raises:
        DataError: `archive`: it is damaged, leads out of the folder, or contains too much for its size.
        UnavailableError: the disk has too little room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as beside:
        top = Path(beside)
        _extract(archive, top)
        inner = [path for path in _files(top) if path.name.endswith(ARCHIVES) and not path.name.startswith("._")]
        for path in inner:
            _extract(path, path.parent)
            path.unlink()
        unpacked = []
        for path in _files(top):
            parts = path.relative_to(top).parts
            target = folder.joinpath(*parts[min(strip, len(parts) - 1) :])
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            unpacked.append(target.relative_to(folder).as_posix())
        return unpacked


def _extract(archive: Path, folder: Path) -> None:
    try:
        (_extract_zip if archive.name.endswith(".zip") else _extract_tar)(archive, folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(archive, f"{type(error).__name__}: {error}", "a complete archive") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the archive
            raise
        raise _refused(archive, str(error), "a complete archive") from error


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        for entry in entries:
            _check_name(archive, entry.filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise _refused(archive, f"{entry.filename} is a link or a device", "files and folders")
        _check_sum(archive, folder, (entry.file_size for entry in entries))
        opened.extractall(folder)


def _extract_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        # Reading the names unpacks the stream once, without writing: too much is noticed before the disk is full.
        total = 0
        for number, entry in enumerate(opened):
            _check_name(archive, entry.name)
            _check_sum(archive, folder, [entry.size], entries=number, so_far=total)
            total += entry.size
        opened.extractall(folder, filter="data")


def _check_name(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name or (parts.parts and ":" in parts.parts[0]):
        raise _refused(archive, f"an entry called {name!r}", "names below the folder")


def _check_sum(archive: Path, folder: Path, sizes: Iterable[int], *, entries: int = 0, so_far: int = 0) -> None:
    total = so_far
    for size in sizes:
        entries += 1
        total += size
    most = archive.stat().st_size * MAX_RATIO + 2**20
    if total > most or entries > MAX_ENTRIES:
        seen = f"{entries} entries of {total} bytes in an archive of {archive.stat().st_size}"
        raise _refused(archive, seen, f"at most {MAX_ENTRIES} entries, and {MAX_RATIO} times the archive's size")
    free = shutil.disk_usage(folder).free
    if total + SPARE_BYTES > free:
        raise no_room(folder, total + SPARE_BYTES, free)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _refused(archive: Path, seen: str, allowed: str) -> DataError:
    return DataError(
        "the archive cannot be unpacked safely",
        where=archive.name,
        seen=seen,
        allowed=allowed,
        remedy="No file of it was kept. Delete it with its .sha256 and download it again",
        code=Code.ARCHIVE,
    )
