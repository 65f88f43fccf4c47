"""Checks whether a file is media at all: a few reads of its head and its box table, no decoding.

Finds what goes wrong between a corpus and a disk: a file that is missing, empty, unreadable, a git-LFS pointer, a text
file with a media name, an mp4 that was cut off before its index, a pipe or a device in place of a file. Damage that
only decoding reveals is found by alignment.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import MediaError

HEAD_BYTES = 4096
LFS_HEAD = b"version https://git-lfs.github.com/spec/"
PARQUET_MAGIC = b"PAR1"

# First bytes of the containers that corpora come in. ISO media (mp4, mov, m4a) has its own check: `_boxes`.
MAGIC: tuple[bytes, ...] = (
    b"RIFF",  # wav, avi
    b"RF64",  # wav beyond 4 GiB
    b"fLaC",
    b"OggS",
    b"FLV",
    b"ID3",  # mp3
    b"\xff\xfb",  # mp3
    b"\xff\xf3",  # mp3
    b"\xff\xf1",  # aac
    b"\x1aE\xdf\xa3",  # mkv, webm
    b"\x00\x00\x01\xba",  # mpeg program stream
    b"\x00\x00\x01\xb3",  # mpeg video
    b"0&\xb2u",  # asf, wmv
    b"FORM",  # aiff
)
# First bytes of picture files → Pillow's name of their format. WebP has its own after eight bytes of RIFF.
IMAGE_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF"}
RIFF, WEBP = b"RIFF", b"WEBP"
# What may stand in place of a file; none of them is opened, since reading a pipe without a writer never returns.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Of a name that leads to nothing; any other error of `stat` is about rights, a disk or a share.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
MAX_BOXES = 100_000  # two per fragment; bounds the work on a file of empty boxes
ISO_SUFFIXES = frozenset({".mp4", ".m4v", ".m4a", ".mov", ".3gp"})
ISO_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"uuid"})


def probe_media(path: Path) -> None:
    """Raises MediaError if a file is certainly not usable audio, video or picture. Cost: two small reads."""
    head = check_file(path, where=str(path))
    if head.startswith((*MAGIC, *IMAGE_MAGIC)):
        return
    if head[4:8] in ISO_BOXES:
        check_boxes(path, where=str(path))
        return
    if is_text(head):
        raise MediaError(
            "this is a text file with a media name",
            where=str(path),
            seen=head[:40].decode("utf-8", "replace"),
            remedy="Download the real file again; a page of HTML often means that the download was refused",
            code=Code.NOT_MEDIA,
        )
    if path.suffix.lower() in ISO_SUFFIXES:
        raise MediaError(
            "this is not an mp4 file: it does not begin with a box",
            where=str(path),
            seen=head[:8].hex(" "),
            remedy="Convert or download the file again",
            code=Code.NOT_MEDIA,
        )


def image_format(path: Path) -> str | None:
    """The format of a picture file by its first bytes, whatever its name; None for anything else."""
    try:
        if not path.is_file():  # reading a pipe without a writer never returns
            return None
        with path.open("rb") as stream:
            head = stream.read(len(RIFF) + 4 + len(WEBP))
    except (OSError, ValueError):  # `check_file` says what is wrong
        return None
    if head.startswith(RIFF) and head.endswith(WEBP):
        return "WEBP"
    return next((name for magic, name in IMAGE_MAGIC.items() if head.startswith(magic)), None)


def check_file(path: Path, *, where: str, max_bytes: int | None = None) -> bytes:
    """The first bytes of a readable file; the only check of files from a corpus or a request.

    Raises:
        MediaError: `missing-file`, `not-a-file`, `unreadable`, `empty-file`, `too-large`, `lfs-pointer`.
    """
    size = _size(path, where)
    if not size:
        raise MediaError(
            f"the file {path.name!r} has no bytes",
            where=where,
            seen="0 bytes",
            allowed="a file with content",
            remedy="Download or write the file again",
            code=Code.EMPTY_FILE,
        )
    if max_bytes is not None and size > max_bytes:
        raise MediaError(
            f"the file {path.name!r} is too large",
            where=where,
            seen=f"{size} bytes",
            allowed=f"at most {max_bytes} bytes",
            remedy="Cut the clip, or raise the max_bytes of the limits",
            code=Code.TOO_LARGE,
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise _unopened(path, error, where, code=Code.UNREADABLE) from error
    if head.startswith(LFS_HEAD):
        raise MediaError(
            f"the file {path.name!r} is a git-LFS pointer, not the file itself",
            where=where,
            seen=head.splitlines()[0].decode("ascii", "replace"),
            allowed="the file itself",
            remedy="Run `git lfs pull` in the corpus's checkout",
            code=Code.LFS_POINTER,
        )
    return head


def _size(path: Path, where: str) -> int:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        missing = isinstance(error, ValueError) or getattr(error, "errno", None) in ABSENT
        code = Code.MISSING_FILE if missing else Code.UNREADABLE
        raise _unopened(path, error, where, code=code) from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(
            f"{path.name!r} is not a file",
            where=where,
            seen=KINDS.get(stat.S_IFMT(status.st_mode), "something else"),
            allowed="a file",
            remedy="Put the recording there, or take the clip out",
            code=Code.NOT_A_FILE,
        )
    return status.st_size


def _unopened(path: Path, error: Exception, where: str, *, code: Code) -> MediaError:
    return MediaError(
        f"the file {path.name!r} cannot be opened",
        where=where,
        seen=getattr(error, "strerror", None) or str(error),
        allowed="a readable file",
        remedy=_remedy(path, error, code),
        code=code,
    )


def _remedy(path: Path, error: Exception, code: Code) -> str:
    if isinstance(error, PermissionError):
        return "Give the user who runs this the right to read it"
    if code == Code.MISSING_FILE and os.path.islink(path):  # `Path.is_symlink` raises where a name is too long
        return "The link leads nowhere: fetch its content (`git annex get`, `dvc pull`), or take the clip out"
    if code == Code.MISSING_FILE:
        return "Add the file, or take the clip out"
    return "Check the disk or the network share that it lies on, and run again"


def probe_physio(path: Path) -> None:
    """Raises MediaError if a file is certainly not a Parquet table (which begins and ends with the same four bytes)."""
    head = check_file(path, where=str(path))
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - len(PARQUET_MAGIC)))
        tail = stream.read()
    if not head.startswith(PARQUET_MAGIC) or tail != PARQUET_MAGIC:
        raise MediaError(
            "this is not a complete Parquet file",
            where=str(path),
            seen=head[:8].hex(" "),
            allowed="Parquet with a column time_s and one column per channel",
            remedy="Write the physiological stream again",
            code=Code.NOT_PARQUET,
        )


def is_text(head: bytes) -> bool:
    """Whether a file's first bytes are printable UTF-8 only; every media container has a control byte among them."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The block may end inside a character.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)


def check_boxes(path: Path, *, where: str) -> None:
    """Walks the top-level boxes (ISO/IEC 14496-12, section 4.2) and requires a complete index.

    A file that is cut off within its index may still be read as one with fewer streams: its sound would be lost
    without a message. One that is cut off within its media is used as far as it goes. A file that does not begin with a
    box passes, and so does one of more than `MAX_BOXES`. Raises MediaError (`truncated`).
    """
    size = path.stat().st_size
    kinds: set[bytes] = set()
    missing = 0
    position = 0
    with path.open("rb") as stream:
        for _ in range(MAX_BOXES):
            if position + 8 > size:
                break
            stream.seek(position)
            length, kind = struct.unpack(">I4s", stream.read(8))
            if length == 1:
                length = struct.unpack(">Q", stream.read(8).ljust(8, b"\x00"))[0]
            if not kinds and kind not in ISO_BOXES:
                return
            kinds.add(kind)
            if length < 8:  # 0 reaches to the end of the file; other values are not lengths
                break
            position += length
            missing += max(0, position - size) if kind == b"moov" else 0
        else:
            return
    if b"moov" not in kinds and b"meta" in kinds:
        raise MediaError(
            "this is a still picture in a format that is not read here (HEIC or AVIF)",
            where=where,
            seen=" ".join(kind.decode("ascii", "replace") for kind in sorted(kinds)),
            allowed="a photograph as JPEG, PNG or WebP, or a file with video or sound",
            remedy="Save it as JPEG, put the recording there (of a live photo the .mov beside it), or take it out",
            code=Code.NOT_MEDIA,
        )
    if missing or (b"moov" not in kinds and b"moof" not in kinds):
        boxes = " ".join(kind.decode("ascii", "replace") for kind in sorted(kinds))
        raise MediaError(
            f"the file is cut off: its index (the moov box) is {'incomplete' if missing else 'missing'}",
            where=where,
            seen=f"{boxes}, {missing} bytes of moov missing" if missing else boxes,
            allowed="the whole file",
            remedy="Copy or download the file again. A recorder that was cut off wrote no index: only a tool that "
            "rebuilds one from a whole file of the same recorder can help",
            code=Code.TRUNCATED,
        )
