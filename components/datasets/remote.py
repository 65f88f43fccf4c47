"""A corpus in an object store: `root: s3://bucket/prefix` is read through a mirror of it below the project.

Wherever a dataset's section contains an address `s3://…`, adapters get a path below `.mer/remote/s3/`. The address
follows from that path, so every later reader can fetch missing files. Adapters, hashes, decoders and their limits work
on local files and do not depend on the store.

`sync` makes a mirror equal to what the store lists: it fetches files that are missing or differ in size or modification
time (a mirrored file carries the object's), and removes files that are no longer listed. A file is put in place once it
is complete, so an interrupted sync resumes where it stopped. The space needed on disk is checked before the first byte.

Server and credentials come from the environment, as for every S3 client: `AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or what the machine has instead of keys.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from components.contracts.atomic import atomic_file
from components.contracts.codes import Code
from components.contracts.errors import ConfigError, DataError
from components.runtime.progress import progress

SCHEME = "s3://"
MIRRORS = Path(".mer/remote/s3")
THREADS = 8
CHUNK_BYTES = 1 << 20
BUDGET_VARIABLE = "MER_REMOTE_MAX_GB"
GIB = 1 << 30
# How Arrow calls a refusal, and the status that it gives where the answer has no body.
DENIED = ("ACCESS_DENIED", "AccessDenied", "HTTP status code: 403", "FORBIDDEN")
PERMIT = (
    "Let these keys (AWS_ACCESS_KEY_ID, or the role of the machine) list the bucket and read there; copies of "
    "checkpoints need to be written and deleted, too"
)
ANSWER = "Check AWS_ENDPOINT_URL, AWS_REGION, the keys and the network; fetched files are kept"
# The share of the disk that stays free: the stages write as much again.
KEPT_FREE = 0.05


@dataclass(frozen=True, kw_only=True)
class Object:
    """One object: its name below the listed address (empty for the address itself), bytes, modification time."""

    name: str
    size: int
    changed_ns: int


@dataclass(frozen=True, kw_only=True)
class Synced:
    """The outcome of a sync: how many files were fetched, kept and removed, and names that cannot be files."""

    fetched: int
    kept: int
    removed: int
    refused: tuple[str, ...]


def localised(section: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A dataset's section with each `s3://…` as the path of its mirror, relative to the project.

    Raises:
        ConfigError: an address has no bucket, or contains settings that belong in the environment.
    """
    return {key: _mirror(value, f"{where}.{key}") if _is_uri(value) else value for key, value in section.items()}


def place_of(address: str, *, where: str) -> Path:
    """The place of an address, relative to the project. Raises ConfigError as `localised`."""
    return Path(_mirror(address, where))


def is_mirror(path: str | Path) -> bool:
    """Whether a path, relative to the project, lies in a mirror."""
    return Path(path).is_relative_to(MIRRORS) and Path(path) != MIRRORS


def listing(place: Path) -> list[Object]:
    """The objects at or below a mirrored place, by name; nothing is fetched.

    Raises:
        DataError: the store cannot be reached, or denies access.
    """
    store, base = _store(place), _address(place)
    with _named(base):
        entry = store.get_file_info(base)
        if entry.type == pafs.FileType.File:
            return [Object(name="", size=entry.size, changed_ns=entry.mtime_ns or 0)]
        entries = store.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True))
    return sorted(
        (
            Object(name=info.path[len(base) :].lstrip("/"), size=info.size, changed_ns=info.mtime_ns or 0)
            for info in entries
            if info.type == pafs.FileType.File
        ),
        key=lambda item: item.name,
    )


def sync(place: Path, root: Path) -> Synced:
    """Makes a mirrored place equal to what the store lists.

    Args:
        place: relative to the project.
        root: the project.

    Raises:
        DataError: there is nothing at that address, the store fails, or the disk has too little room.
    """
    objects = listing(place)
    address = SCHEME + _address(place)
    if not objects:
        raise DataError(
            "there is no object at this address",
            where=address,
            remedy="Check bucket and prefix; capital letters count",
            code=Code.NO_SUCH_FOLDER,
        )
    names = {item.name for item in objects}
    refused = tuple(item.name for item in objects if not is_file_name(item.name, names))
    listed = {root / place / item.name: item for item in objects if item.name not in refused}
    missing = {path: item for path, item in listed.items() if not _is_current(path, item)}
    _check_room(missing.values(), listed.values(), root, address)
    removed = _remove_others(root / place, listed)
    if missing:
        with ThreadPoolExecutor(THREADS) as pool, progress(f"fetch {address}", len(missing)) as advance:
            for _ in pool.map(lambda entry: fetch(place, *entry), missing.items()):
                advance(1)
    return Synced(fetched=len(missing), kept=len(listed) - len(missing), removed=removed, refused=refused)


def bring(path: str | None, root: Path) -> None:
    """Fetches a missing mirrored file, or the missing files of a mirrored folder; does nothing for any other path, or
    where the store no longer has it. Raises DataError where the store cannot be reached."""
    if path is None or not is_mirror(path) or (root / path).is_file():
        return
    objects = listing(Path(path))
    names = {item.name for item in objects}
    for item in objects:
        if is_file_name(item.name, names) and not _is_current(root / path / item.name, item):
            fetch(Path(path), root / path / item.name, item)


def put(path: Path, place: Path, name: str) -> None:
    """Writes a file as an object below a place; readers see the object when it is complete. Raises DataError."""
    target = f"{_address(place)}/{name}"
    with _named(target), path.open("rb") as file, _store(place).open_output_stream(target) as stream:
        shutil.copyfileobj(file, stream, CHUNK_BYTES)


def write(data: bytes, place: Path, name: str) -> None:
    """Writes some bytes as an object below a place. Raises DataError."""
    target = f"{_address(place)}/{name}"
    with _named(target), _store(place).open_output_stream(target) as stream:
        stream.write(data)


def read(place: Path, name: str) -> bytes:
    """The bytes of an object below a place. Raises DataError: the store fails, or has no such object."""
    source = f"{_address(place)}/{name}"
    with _named(source), _store(place).open_input_stream(source) as stream:
        return bytes(stream.read())


@contextmanager
def opened(source: str) -> Iterator[Any]:
    """A file of this machine, or an object by its address, as Arrow's readers take it: of an object only the parts that
    they ask for are fetched. Raises DataError: the store fails, or has no such object."""
    if not _is_uri(source):
        yield source
        return
    place = place_of(source, where="object")
    with _named(_address(place)), _store(place).open_input_file(_address(place)) as file:
        yield file


class ObjectRanges:
    """Reads parts of an object below a place; threads may share it. Raises DataError: the store fails, or has no such
    object."""

    def __init__(self, place: Path, name: str) -> None:
        self._address = f"{_address(place)}/{name}"
        with _named(self._address):
            self._file = _store(place).open_input_file(self._address)

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes, fewer at the end. Raises DataError: the store fails."""
        with _named(self._address):
            return bytes(self._file.read_at(size, offset))


def filesystem(place: Path) -> tuple[pafs.S3FileSystem, str]:
    """What other libraries need to write below a place: the store, and the path in it. Raises DataError."""
    return _store(place), _address(place)


def remove(place: Path, name: str) -> None:
    """Deletes an object below a place, or everything below `name`. Raises DataError where the store fails."""
    target = f"{_address(place)}/{name}"
    store = _store(place)
    with _named(target):
        if store.get_file_info(target).type == pafs.FileType.File:
            store.delete_file(target)
        elif store.get_file_info(target).type == pafs.FileType.Directory:
            store.delete_dir(target)


def _is_uri(value: object) -> bool:
    return isinstance(value, str) and value.startswith(SCHEME)


def _mirror(uri: str, where: str) -> str:
    bucket, *parts = uri.removeprefix(SCHEME).rstrip("/").split("/")
    if not bucket or any(part in ("", ".", "..") for part in parts) or set("?#@\\") & set(uri):
        raise ConfigError(
            "this is not the address of a bucket or of something in it",
            where=where,
            seen=uri,
            allowed="s3://bucket/prefix",
            remedy="The server, its region and the keys are set in the environment: AWS_ENDPOINT_URL, AWS_REGION, …",
        )
    return MIRRORS.joinpath(bucket, *parts).as_posix()


def _address(place: Path) -> str:
    """`bucket/prefix`, the address within the store."""
    return place.relative_to(MIRRORS).as_posix()


def _store(place: Path) -> pafs.S3FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    with _named(_address(place)):
        return _connected(place.relative_to(MIRRORS).parts[0], endpoint, region)


@lru_cache(maxsize=16)
def _connected(bucket: str, endpoint: str | None, region: str | None) -> pafs.S3FileSystem:
    if endpoint:
        return pafs.S3FileSystem(region=region, endpoint_override=endpoint)
    return pafs.S3FileSystem(region=region or pafs.resolve_s3_region(bucket))


@contextmanager
def _named(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        denied = any(word in str(error) for word in DENIED)
        raise DataError(
            "the object store denies access" if denied else "the object store failed to answer",
            where=SCHEME + address,
            seen=str(error)[:300],
            remedy=PERMIT if denied else ANSWER,
            code=Code.OBJECT_STORE,
        ) from error


def is_file_name(name: str, names: Set[str]) -> bool:
    """Whether an object can be a file below the mirror: a plain relative name that no other object uses as a folder."""
    parts = name.split("/")
    plain = name == "" or not any(part in ("", ".", "..") or "\0" in part for part in parts)
    return plain and not any(other.startswith(f"{name}/") for other in names if name and len(other) > len(name))


def _is_current(path: Path, item: Object) -> bool:
    """Whether a mirrored file exists with the object's size and modification time."""
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (item.size, item.changed_ns)


def _check_room(to_fetch: Iterable[Object], listed: Iterable[Object], root: Path, address: str) -> None:
    missing, total = sum(item.size for item in to_fetch), sum(item.size for item in listed)
    disk = shutil.disk_usage(root)
    budget = float(os.environ.get(BUDGET_VARIABLE, "inf")) * GIB
    free = disk.free - KEPT_FREE * disk.total
    if missing and (total > budget or missing > free):
        raise DataError(
            "the corpus does not fit on this disk" if missing > free else "the corpus is larger than allowed",
            where=address,
            seen=f"{total / GIB:.2f} GiB, of which {missing / GIB:.2f} GiB are to be fetched",
            allowed=f"{free / GIB:.2f} GiB free" if missing > free else f"{BUDGET_VARIABLE}={budget / GIB:g}",
            remedy="Name a narrower prefix, put .mer on a larger disk, or mount the bucket and name the mount",
            code=Code.NO_ROOM,
        )


def _remove_others(folder: Path, listed: Mapping[Path, Object]) -> int:
    """Deletes files that the store does not list, remains of an interrupted fetch included; returns their number."""
    removed = 0
    for place, _, files in os.walk(folder, topdown=False):
        for path in (Path(place, name) for name in files):
            if path not in listed:
                path.unlink()
                removed += 1
        if Path(place) != folder and not os.listdir(place):
            os.rmdir(place)
    return removed


def fetch(place: Path, path: Path, item: Object) -> None:
    """Writes an object below a mirrored place to a file. Raises DataError: the store fails, or the object changed."""
    base = _address(place)
    source = f"{base}/{item.name}" if item.name else base
    with _named(source), atomic_file(path) as beside:
        with _store(place).open_input_stream(source) as stream, beside.open("wb") as file:
            shutil.copyfileobj(stream, file, CHUNK_BYTES)
        if beside.stat().st_size != item.size:
            raise DataError(
                "the object changed while it was fetched",
                where=SCHEME + source,
                seen=f"{beside.stat().st_size} bytes",
                allowed=f"{item.size} bytes, as listed",
                remedy="Run again",
                code=Code.OBJECT_STORE,
            )
        os.utime(beside, ns=(item.changed_ns, item.changed_ns))
