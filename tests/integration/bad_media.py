"""Broken and hostile files, made by code: each with its name, how it is made, and what is expected of it.

Every case is one small function under a decorator: `refused(name, code)` for a file that must end in quarantine with
that reason, `used(name, note)` for one that must come out aligned, with that among its notes if something is given.
Names are paths below the corpus, `<emotion>/<person>/<file>`; the other files of this family fill the same table:
`bad_media_boxes.py`, `bad_media_sound.py`, `bad_media_pictures.py`, `bad_media_times.py`, `bad_media_names.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.alignment.containers import valid

PLACE = "anger/someone"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PNG = b"\x89PNG\r\n\x1a\n"
Maker = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file.

    Attributes:
        name: below the corpus; in bytes where it is no text.
        make: writes it.
        stage: that refuses it, or "" where it is used.
        expected: its code there, or a part of a note.
        clip: where it is used, its clip below the dataset; None for a hidden file, which is never a clip.
    """

    name: str
    make: Maker
    stage: str
    expected: str
    clip: str | None = None


CASES: list[Case] = []


def refused(name: str, code: str, *, stage: str = "alignment") -> Callable[[Maker], Maker]:
    """The decorated function writes a file that this stage refuses with this code."""
    return _case(name, stage, code)


def used(name: str, note: str = "", *, clip: str = "") -> Callable[[Maker], Maker]:
    """The decorated function writes a file that is aligned all the same, with this among its notes; `clip` is the name
    of its clip where that has a different spelling."""
    return _case(name, "", note, clip=clip or name)


def hidden(name: str) -> Callable[[Maker], Maker]:
    """The decorated function writes a file that is neither used nor refused."""
    return _case(name, "", "")


def _case(name: str, stage: str, expected: str, clip: str | None = None) -> Callable[[Maker], Maker]:
    place = _placed(name)

    def keep(make: Maker) -> Maker:
        assert all(case.name != place for case in CASES), place
        CASES.append(Case(name=place, make=make, stage=stage, expected=expected, clip=clip and _placed(clip)))
        return make

    return keep


def _placed(name: str) -> str:
    return name if "/" in name else f"{PLACE}/{name}"


def bytes_of(data: bytes) -> Maker:
    """A maker that writes these bytes."""
    return lambda path: path.write_bytes(data)


def write_all(folder: Path) -> None:
    """Makes every file of the table below a folder."""
    for case in CASES:
        path = folder / case.name
        path.parent.mkdir(parents=True, exist_ok=True)
        case.make(path)


# What goes wrong between a corpus and a disk.
refused("zero.mp4", "empty-file", stage="datasets")(bytes_of(b""))
refused("zero.wav", "empty-file", stage="datasets")(bytes_of(b""))
refused("pointer.mp4", "lfs-pointer", stage="datasets")(bytes_of(LFS))
refused("pointer.flac", "lfs-pointer", stage="datasets")(bytes_of(LFS))
refused("text.flac", "not-media", stage="datasets")(bytes_of(b"see the folder upstairs\n"))
refused("html.wav", "not-media", stage="datasets")(bytes_of(b"<!DOCTYPE html><html>You need to log in</html>"))
refused("json.mkv", "not-media", stage="datasets")(bytes_of(b'{"error": "AccessDenied"}'))
refused("zeros.mp4", "not-media", stage="datasets")(bytes_of(bytes(65536)))
refused("zeros.wav", "not-media")(bytes_of(bytes(65536)))
refused("noise.mp3", "not-media")(bytes_of(b"\xff\xfb" + bytes(range(256)) * 64))

# A suffix that lies.
refused("png.mp4", "not-media")(bytes_of(PNG + bytes(range(256)) * 8))
refused("jpeg.avi", "not-media")(bytes_of(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256)) * 8))
refused("zip.mov", "not-media", stage="datasets")(bytes_of(b"PK\x03\x04\x14\x00\x00\x00" + bytes(range(256)) * 8))
refused("gzip.mkv", "not-media")(bytes_of(b"\x1f\x8b\x08\x00" + bytes(range(256)) * 8))
refused("program.avi", "not-media")(bytes_of(b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 8))
refused("gif.webm", "not-media")(bytes_of(b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(range(256)) * 8))
used("mp4.wav", "sound only")(bytes_of(valid(".mp4")))
used("mkv.mp4.mkv")(bytes_of(valid(".webm")))
used("wav.mp3")(bytes_of(valid(".wav")))
used("flac.avi", "the video file holds no picture")(bytes_of(valid(".flac")))
refused("notes.mkv", "not-media")(bytes_of(b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n\x00"))

# Lists of other files: nothing here may open what they name.
refused("list.mp4", "not-media", stage="datasets")(bytes_of(b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"))
refused("network.mkv", "not-media")(bytes_of(b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n\x00"))
refused("concat.avi", "not-media")(bytes_of(b"ffconcat version 1.0\nfile 'zero.mp4'\n\x00"))
refused("session.mp3", "not-media")(bytes_of(b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\n\x00"))
refused("dash.webm", "not-media")(
    bytes_of(b'<?xml version="1.0"?><MPD type="static"><BaseURL>file:///</BaseURL></MPD>\x00')
)
refused("filter.mov", "not-media", stage="datasets")(bytes_of(b"movie=/etc/hostname[out0]\x00"))


# What stands where a file should.
@refused("pipe.mp4", "not-a-file", stage="datasets")
def _pipe(path: Path) -> None:
    os.mkfifo(path)


@refused("socket.wav", "not-a-file", stage="datasets")
def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)  # the name of a socket may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


@refused("endless.mkv", "not-a-file", stage="datasets")
def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@refused("gone.mp4", "missing-file", stage="datasets")
def _dangling(path: Path) -> None:
    path.symlink_to("../.git/annex/objects/none")


@refused("circle.mp4", "missing-file", stage="datasets")
def _circle(path: Path) -> None:
    path.symlink_to(path.name)


@refused("round.wav", "missing-file", stage="datasets")
def _round(path: Path) -> None:
    path.symlink_to("round.link")
    path.with_name("round.link").symlink_to(path.name)


@refused("secret.wav", "not-media", stage="datasets")
def _out_to_text(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@used("elsewhere.wav")
def _out_to_media(path: Path) -> None:
    outside = path.parents[3] / "outside.wav"
    outside.write_bytes(valid(".wav"))
    path.symlink_to(outside)


@used(f"{PLACE}/folder.mp4/inside.wav")
def _folder(path: Path) -> None:
    """A folder called like a file is a folder; what lies in it counts."""
    path.write_bytes(valid(".wav"))
    path.parent.parent.joinpath("up").symlink_to(path.parents[2])  # and a circle of folders


# The same bytes again are a clip of their own.
used("twin-1.mp4")(bytes_of(valid(".mp4")))
used("twin-2.mp4")(bytes_of(valid(".mp4")))
