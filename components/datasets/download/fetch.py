"""Fetches files over HTTP so that they come whole: resumed where they broke off, and held against a checksum.

A file grows as `<name>.part` and gets its name when it is whole and its checksum holds. An interrupted download, by a
cut line or by Ctrl-C, goes on where it stopped, if the server knows ranges (RFC 9110, section 14) and the file there
is still the same one (`If-Range`); else it starts anew. What is whole has its SHA-256 in a record; where nobody
publishes a checksum, the record is made on the first download and every later one is held against it.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.atomic import atomic_file
from components.contracts.codes import Code
from components.contracts.errors import DataError, UnavailableError
from components.contracts.fingerprint import file_digest

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 6  # in a row without a byte
WAIT_S = 1.0  # before the second attempt; doubled before each further one
MAX_WAIT_S = 60.0
SPARE_BYTES = 200 * 2**20
DIGESTS = {"md5": 32, "sha1": 40, "sha256": 64}
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file to fetch.

    Attributes:
        url: where it is.
        path: where it goes, relative to the corpus's folder.
        size: in bytes, where it is known.
        checksum: as published, `md5:…`, `sha1:…` or `sha256:…`; None where nobody publishes one.
        pointer: where a git-LFS pointer says size and SHA-256.
        unpack: whether it is an archive whose content is wanted; `strip` leading folders of its names are left out.
    """

    url: str
    path: str
    size: int | None = None
    checksum: str | None = None
    pointer: str | None = None
    unpack: bool = False
    strip: int = 0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a file lies when it is whole, and where its SHA-256 is recorded."""

    file: Path
    record: Path

    @property
    def part(self) -> Path:
        """What there is of it so far."""
        return self.file.with_name(f"{self.file.name}.part")

    @property
    def state(self) -> Path:
        """Which version of the file `part` is of."""
        return self.file.with_name(f"{self.file.name}.part.json")

    def recorded(self) -> str | None:
        """The SHA-256 of an earlier download."""
        try:
            return self.record.read_text(encoding="utf-8").split()[0]
        except (OSError, IndexError):
            return None

    def is_whole(self) -> bool:
        """Whether the file is there as it was recorded; it is read only if it was touched since."""
        known = self.recorded()
        if known is None or not self.file.is_file():
            return False
        untouched = self.file.stat().st_mtime_ns <= self.record.stat().st_mtime_ns
        return untouched or file_digest(self.file, "sha256") == known


def fetch(
    client: httpx.Client,
    remote: Remote,
    place: Place,
    *,
    advance: Callable[[int], None] = lambda count: None,
    wait: Callable[[float], None] = time.sleep,
) -> bool:
    """Fetches a file unless it is there.

    Args:
        client: what asks; it follows redirections.
        advance: told how many bytes came.
        wait: pauses between attempts.

    Returns:
        Whether anything was fetched.

    Raises:
        UnavailableError: the server does not have it, does not answer, or the disk has no room.
        DataError: `checksum`: what came is not what was published, or not what came the first time.
    """
    if place.is_whole():
        return False
    place.file.parent.mkdir(parents=True, exist_ok=True)
    resumed = _complete(client, remote, place, advance, wait)
    try:
        _accept(remote, place)
    except DataError:
        if not resumed:
            raise
        # The parts may have been of two files, or damaged on disk: once more, from the beginning.
        _complete(client, remote, place, advance, wait)
        _accept(remote, place)
    return True


def _complete(
    client: httpx.Client,
    remote: Remote,
    place: Place,
    advance: Callable[[int], None],
    wait: Callable[[float], None],
) -> bool:
    """Lets `place.part` grow until it is as long as the server says; whether it was put together of several answers."""
    import httpx

    failures = 0
    resumed = False
    while True:
        before = _size(place.part)
        resumed |= before > 0
        try:
            if _once(client, remote, place, advance):
                return resumed
            problem = "the line was cut"
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        except _BusyError as busy:
            problem = str(busy)
        failures = 1 if _size(place.part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise UnavailableError(
                "the download does not go on",
                where=remote.url,
                seen=f"{problem}, {ATTEMPTS} times in a row; {_size(place.part)} bytes are there",
                remedy="Start the same command again later: it goes on where it stopped",
                code=Code.DOWNLOAD,
            )
        wait(min(MAX_WAIT_S, WAIT_S * 2 ** (failures - 1)))


class _BusyError(Exception):
    """The server asks to try again."""


def _once(client: httpx.Client, remote: Remote, place: Place, advance: Callable[[int], None]) -> bool:
    """One request; whether the file is whole after it."""
    have = _size(place.part)
    state = _state(place)
    headers = {"Accept-Encoding": "identity"}
    if have and state.get("version"):
        headers |= {"Range": f"bytes={have}-", "If-Range": state["version"]}
    elif have and remote.checksum is not None:  # which tells in the end whether the parts belong together
        headers |= {"Range": f"bytes={have}-"}
    with client.stream("GET", remote.url, headers=headers) as answer:
        if answer.status_code == 416:  # longer than the file there, or just as long
            if state.get("size") == have:
                return True
            place.part.unlink(missing_ok=True)
            return False
        _check_status(answer.status_code, remote.url)
        first, size = _extent(answer)
        if first != have:
            first = 0
        _check_room(remote, place, size, have=first)
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if version is not None and version.startswith("W/"):
            version = None  # a weak one says nothing of bytes
        place.state.write_text(json.dumps({"version": version, "size": size, "url": remote.url}), encoding="utf-8")
        with place.part.open("r+b" if first else "wb") as stream:
            stream.seek(first)
            stream.truncate()
            for block in answer.iter_raw():
                stream.write(block)
                advance(len(block))
    return size is None or _size(place.part) == size


def _extent(answer: httpx.Response) -> tuple[int, int | None]:
    """(where the answer's bytes begin, how long the file is)."""
    if answer.status_code == 206:
        found = RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None:
            raise _BusyError("an answer to a range without its place")
        return int(found.group(1)), None if found.group(2) == "*" else int(found.group(2))
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _check_status(status: int, url: str) -> None:
    if status in TRY_AGAIN:
        raise _BusyError(f"the server says {status}")
    if status not in {200, 206}:
        raise UnavailableError(
            "the server does not give the file",
            where=url,
            seen=f"HTTP {status}",
            remedy="The corpus may have moved: `mer datasets describe NAME` names its page",
            code=Code.DOWNLOAD,
        )


def _check_room(remote: Remote, place: Place, size: int | None, *, have: int) -> None:
    expected = size if size is not None else remote.size
    needed = (expected or 0) - have + SPARE_BYTES
    free = shutil.disk_usage(place.file.parent).free
    if needed > free:
        raise no_room(place.file.parent, needed, free)


def no_room(folder: Path, needed: int, free: int) -> UnavailableError:
    """The error for a disk that is too small."""
    return UnavailableError(
        "the disk has no room for this",
        where=str(folder),
        seen=f"{free / 2**30:.1f} GiB free",
        allowed=f"{needed / 2**30:.1f} GiB or more",
        remedy="Make room, or choose another disk with --to",
        code=Code.NO_ROOM,
    )


def _accept(remote: Remote, place: Place) -> None:
    """Holds the part against what is known of the file, records its SHA-256 and gives it its name."""
    seen = file_digest(place.part, "sha256")
    try:
        size = _size(place.part)
        if remote.size is not None and size != remote.size:
            raise _other(remote, "the size is not the published one", seen=str(size), wanted=str(remote.size))
        if remote.checksum is not None:
            kind, _, wanted = remote.checksum.partition(":")
            found = seen if kind == "sha256" else file_digest(place.part, kind)
            if found != wanted.lower():
                what = "the checksum is not the published one"
                raise _other(remote, what, seen=f"{kind}:{found}", wanted=remote.checksum)
        elif (known := place.recorded()) is not None and known != seen:
            what = "this is not the file that came the first time"
            raise _other(remote, what, seen=f"sha256:{seen}", wanted=f"sha256:{known}", record=place.record)
    except DataError:
        place.part.unlink()
        place.state.unlink(missing_ok=True)
        raise
    place.part.replace(place.file)
    place.state.unlink(missing_ok=True)
    with atomic_file(place.record) as beside:
        beside.write_text(f"{seen}  {place.file.name}\n", encoding="utf-8")


def _other(remote: Remote, what: str, *, seen: str, wanted: str, record: Path | None = None) -> DataError:
    again = "It was thrown away; start again. If it stays so, something on the way changes it, or the host did"
    remedy = f"If the corpus published a new version, delete {record} to accept it" if record else again
    return DataError(what, where=remote.url, seen=seen, allowed=wanted, remedy=remedy, code=Code.CHECKSUM)


def checksum(kind: str, digits: str, *, where: str) -> str:
    """`kind:digits`. Raises DataError: it is no checksum of a kind that is known."""
    text = f"{kind}:{digits}".lower()
    if DIGESTS.get(kind) != len(digits) or not re.fullmatch(r"[0-9a-f]+", digits.lower()):
        raise DataError(
            "this is no checksum", where=where, seen=text[:100], allowed=", ".join(DIGESTS), code=Code.CHECKSUM
        )
    return text


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _state(place: Place) -> dict[str, Any]:
    try:
        found = json.loads(place.state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def get(client: httpx.Client, url: str, *, wait: Callable[[float], None] = time.sleep) -> httpx.Response:
    """A small answer as a whole. Raises UnavailableError."""
    import httpx

    problem = ""
    for pause in _pauses():
        try:
            answer = client.get(url)
            _check_status(answer.status_code, url)
            return answer
        except (httpx.TransportError, _BusyError) as error:
            problem = f"{type(error).__name__}: {error}"
            wait(pause)
    raise UnavailableError(
        "the server cannot be reached", where=url, seen=problem, remedy="Try again later", code=Code.DOWNLOAD
    )


def _pauses() -> Iterator[float]:
    yield from (min(MAX_WAIT_S, WAIT_S * 2**number) for number in range(ATTEMPTS - 2))
