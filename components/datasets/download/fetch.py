"""Complete downloads over HTTP: resumed after an interruption, and verified against a checksum.

A file grows as `<name>.part` and gets its name once it is complete and its checksum matches. A download interrupted by
a lost connection or by Ctrl-C resumes where it stopped, if the server supports ranges (RFC 9110, section 14) and the
file there is still the same (`If-Range`); else it starts over. The SHA-256 of a complete file is recorded; where no
checksum is published, the record is made on the first download and every later one is compared with it.
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
        checksum: as published, `md5:…`, `sha1:…` or `sha256:…`; None where none is published.
        pointer: address of a git-LFS pointer with size and SHA-256.
        unpack: whether it is an archive to be unpacked; `strip` leading folders of its names are left out.
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
    """The path of a complete file, and of the record of its SHA-256."""

    file: Path
    record: Path

    @property
    def part(self) -> Path:
        """The part downloaded so far."""
        return self.file.with_name(f"{self.file.name}.part")

    @property
    def state(self) -> Path:
        """The version of the file that `part` belongs to."""
        return self.file.with_name(f"{self.file.name}.part.json")

    def recorded(self) -> str | None:
        """The SHA-256 of an earlier download."""
        try:
            return self.record.read_text(encoding="utf-8").split()[0]
        except (OSError, IndexError):
            return None

    def is_whole(self) -> bool:
        """Whether the file exists as it was recorded; it is read only if it was modified since."""
        recorded = self.recorded()
        if recorded is None or not self.file.is_file():
            return False
        unmodified = self.file.stat().st_mtime_ns <= self.record.stat().st_mtime_ns
        return unmodified or file_digest(self.file, "sha256") == recorded


def fetch(
    client: httpx.Client,
    remote: Remote,
    place: Place,
    *,
    advance: Callable[[int], None] = lambda count: None,
    wait: Callable[[float], None] = time.sleep,
) -> bool:
    """Fetches a file unless it exists.

    Args:
        client: the HTTP client; it follows redirections.
        advance: called with the number of bytes received.
        wait: pauses between attempts.

    Returns:
        Whether anything was fetched.

    Raises:
        UnavailableError: the server does not have it or does not answer, or the disk has too little room.
        DataError: `checksum`: the file is not the published one, or not that of the first download.
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
        # The parts may belong to two versions of the file, or be damaged on disk: start over once.
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
    """Completes `place.part` to the size that the server states; returns whether it consists of several answers."""
    import httpx

    failures = 0
    resumed = False
    while True:
        before = _size(place.part)
        resumed |= before > 0
        try:
            if _request(client, remote, place, advance):
                return resumed
            problem = "the connection was lost"
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        except _BusyError as busy:
            problem = str(busy)
        failures = 1 if _size(place.part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise UnavailableError(
                "the download does not continue",
                where=remote.url,
                seen=f"{problem}, {ATTEMPTS} times in a row; {_size(place.part)} bytes so far",
                remedy="Start the same command again later: it resumes where it stopped",
                code=Code.DOWNLOAD,
            )
        wait(min(MAX_WAIT_S, WAIT_S * 2 ** (failures - 1)))


class _BusyError(Exception):
    """The server's answer means that a later attempt may succeed."""


def _request(client: httpx.Client, remote: Remote, place: Place, advance: Callable[[int], None]) -> bool:
    """Sends one request; returns whether the file is complete after it."""
    received = _size(place.part)
    state = _state(place)
    headers = {"Accept-Encoding": "identity"}
    if received and state.get("version"):
        headers |= {"Range": f"bytes={received}-", "If-Range": state["version"]}
    elif received and remote.checksum is not None:  # the checksum shows in the end whether the parts belong together
        headers |= {"Range": f"bytes={received}-"}
    with client.stream("GET", remote.url, headers=headers) as answer:
        if answer.status_code == 416:  # the part is at least as long as the file on the server
            if state.get("size") == received:
                return True
            place.part.unlink(missing_ok=True)
            return False
        _check_status(answer.status_code, remote.url)
        first, size = _extent(answer)
        if first != received:
            first = 0
        _check_room(remote, place, size, received=first)
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if version is not None and version.startswith("W/"):
            version = None  # a weak one does not identify the bytes
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
        match = RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None:
            raise _BusyError("a partial answer without its range")
        return int(match.group(1)), None if match.group(2) == "*" else int(match.group(2))
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _check_status(status: int, url: str) -> None:
    if status in TRY_AGAIN:
        raise _BusyError(f"HTTP {status}")
    if status not in {200, 206}:
        raise UnavailableError(
            "the server does not deliver the file",
            where=url,
            seen=f"HTTP {status}",
            remedy="The corpus may have moved: `mer datasets describe NAME` shows its page",
            code=Code.DOWNLOAD,
        )


def _check_room(remote: Remote, place: Place, size: int | None, *, received: int) -> None:
    expected = size if size is not None else remote.size
    needed = (expected or 0) - received + SPARE_BYTES
    free = shutil.disk_usage(place.file.parent).free
    if needed > free:
        raise no_room(place.file.parent, needed, free)


def no_room(folder: Path, needed: int, free: int) -> UnavailableError:
    """The error for a disk that is too small."""
    return UnavailableError(
        "the disk has too little room",
        where=str(folder),
        seen=f"{free / 2**30:.1f} GiB free",
        allowed=f"{needed / 2**30:.1f} GiB or more",
        remedy="Make room, or choose a different disk with --to",
        code=Code.NO_ROOM,
    )


def _accept(remote: Remote, place: Place) -> None:
    """Compares the part with the published size and checksum, records its SHA-256 and gives it its name."""
    sha256 = file_digest(place.part, "sha256")
    try:
        size = _size(place.part)
        if remote.size is not None and size != remote.size:
            raise _mismatch(remote, "the size is not the published one", seen=str(size), allowed=str(remote.size))
        if remote.checksum is not None:
            kind, _, published = remote.checksum.partition(":")
            digest = sha256 if kind == "sha256" else file_digest(place.part, kind)
            if digest != published.lower():
                what = "the checksum is not the published one"
                raise _mismatch(remote, what, seen=f"{kind}:{digest}", allowed=remote.checksum)
        elif (recorded := place.recorded()) is not None and recorded != sha256:
            what = "this is not the file of the first download"
            raise _mismatch(remote, what, seen=f"sha256:{sha256}", allowed=f"sha256:{recorded}", record=place.record)
    except DataError:
        place.part.unlink()
        place.state.unlink(missing_ok=True)
        raise
    place.part.replace(place.file)
    place.state.unlink(missing_ok=True)
    with atomic_file(place.record) as beside:
        beside.write_text(f"{sha256}  {place.file.name}\n", encoding="utf-8")


def _mismatch(remote: Remote, what: str, *, seen: str, allowed: str, record: Path | None = None) -> DataError:
    again = "It was deleted; start again. If this persists, a proxy on the way changes the file, or its host did"
    remedy = f"If the corpus published a new version, delete {record} to accept it" if record else again
    return DataError(what, where=remote.url, seen=seen, allowed=allowed, remedy=remedy, code=Code.CHECKSUM)


def checksum(kind: str, digits: str, *, where: str) -> str:
    """`kind:digits`. Raises DataError: it is not a checksum of a supported kind."""
    text = f"{kind}:{digits}".lower()
    if DIGESTS.get(kind) != len(digits) or not re.fullmatch(r"[0-9a-f]+", digits.lower()):
        raise DataError(
            "this is not a checksum", where=where, seen=text[:100], allowed=", ".join(DIGESTS), code=Code.CHECKSUM
        )
    return text


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _state(place: Place) -> dict[str, Any]:
    try:
        state = json.loads(place.state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def get(client: httpx.Client, url: str, *, wait: Callable[[float], None] = time.sleep) -> httpx.Response:
    """A small answer, read completely. Raises UnavailableError."""
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
