"""Folders of numbered pictures: `00001.jpg`, `00002.jpg`, …, counted from 1 as frames are; some may be missing."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.contracts.fingerprint import CHUNK_BYTES, fingerprint

NAME = re.compile(r"([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE)


def numbered_pictures(folder: Path) -> dict[int, Path]:
    """Number → file, ascending. Files with other names are ignored.

    Raises:
        MediaError: `missing-file` (no such folder), `no-pictures`, `bad-name` (a picture 0: every picture would be
            one frame early), `duplicate-picture`.
    """
    numbered: dict[int, Path] = {}
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if NAME.fullmatch(entry.name) and entry.is_file())
    except OSError as error:
        raise _refused(
            "the folder of pictures cannot be read", folder, str(error.strerror), Code.MISSING_FILE
        ) from error
    for name in entries:
        number = int(name.partition(".")[0])
        if number in numbered:
            both = f"{numbered[number].name} and {name}"
            raise _refused("two pictures have one number", folder, both, Code.DUPLICATE_PICTURE)
        numbered[number] = folder / name
    if 0 in numbered:
        raise _refused("pictures are counted from 1, but one has the number 0", folder, numbered[0].name, Code.BAD_NAME)
    if not numbered:
        raise _refused("the folder contains no numbered picture", folder, "no 00001.jpg or the like", Code.NO_PICTURES)
    return dict(sorted(numbered.items()))


def pictures_sha256(folder: Path) -> str:
    """SHA-256 over the numbers and bytes of a folder's pictures; an unreadable one contributes a fixed marker.

    Raises:
        MediaError: as `numbered_pictures`.
    """
    digest = hashlib.sha256()
    for number, path in numbered_pictures(folder).items():
        try:
            with path.open("rb") as stream:
                digest.update(f"{number}:{os.fstat(stream.fileno()).st_size}\n".encode())
                while block := stream.read(CHUNK_BYTES):
                    digest.update(block)
        except OSError:
            digest.update(f"{number}:unreadable\n".encode())
    return digest.hexdigest()


def pictures_state(folder: Path) -> tuple[int, str]:
    """(pictures, fingerprint of their names, sizes and modification times): changes when a picture does, and reads
    none. Raises MediaError as `numbered_pictures`."""
    stats = [(path.name, path.stat()) for path in numbered_pictures(folder).values()]
    return len(stats), fingerprint([[name, status.st_size, status.st_mtime_ns] for name, status in stats])


def _refused(what: str, folder: Path, seen: str, code: Code) -> MediaError:
    return MediaError(
        what,
        where=folder.name,
        seen=seen,
        allowed="pictures 00001.jpg, 00002.jpg, …, one per frame",
        remedy="Unpack the pictures of this video again, or take its row out",
        code=code,
    )
