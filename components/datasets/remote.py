"""A corpus in an object store: `root: s3://bucket/prefix` is read through a mirror of it below the project.

Wherever a dataset's section names a place as `s3://…`, adapters see a path below `.mer/remote/s3/`, and that path tells
where the objects come from, so every later reader can fetch what is not there. Adapters, hashes, decoders and their
limits work on local files and know nothing of it.

`sync` makes a mirror equal to what the store lists: it fetches what is not there or differs in size or in time of
change (a mirrored file carries the object's), and removes what is no longer listed. A file is put in place when all of
it is there, so an interrupted sync goes on where it was. What it would need on disk is known before the first byte.

Which server and whose keys is the environment's business, as for every tool that speaks S3: `AWS_ENDPOINT_URL`,
`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or what the machine has instead of keys.
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
# Never filled to the brim: the stages write as much again.
KEPT_FREE = 0.05


@dataclass(frozen=True, kw_only=True)
class Object:
    """One object: its name below the place that was listed (empty for the place itself), bytes, time of change."""

    name: str
    size: int
    changed_ns: int


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What a sync did: how many files it fetched, left as they were and removed, and names that cannot be files."""

    fetched: int
    kept: int
    removed: int
    refused: tuple[str, ...]


def localised(section: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A dataset's section with each `s3://…` as the path of its mirror, relative to the project.

    Raises:
        ConfigError: a place names no bucket, or holds what belongs into the environment.
    """
    return {key: _mirror(value, f"{where}.{key}") if _is_uri(value) else value for key, value in section.items()}


def is_mirror(path: str | Path) -> bool:
    """Whether a path, relative to the project, lies in a mirror."""
    return Path(path).is_relative_to(MIRRORS) and Path(path) != MIRRORS


def listing(place: Path) -> list[Object]:
    """The objects at or below a mirrored place, by name; nothing is fetched.

    Raises:
        DataError: the store cannot be reached, or does not let us in.
    """
    store, base = _store(place), _address(place)
    with _named(base):
        here = store.get_file_info(base)
        if here.type == pafs.FileType.File:
            return [Object(name="", size=here.size, changed_ns=here.mtime_ns or 0)]
        found = store.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True))
    return sorted(
        (
            Object(name=info.path[len(base) :].lstrip("/"), size=info.size, changed_ns=info.mtime_ns or 0)
            for info in found
            if info.type == pafs.FileType.File
        ),
        key=lambda one: one.name,
    )


def sync(place: Path, root: Path) -> Synced:
    """Makes a mirrored place equal to what the store lists.

    Args:
        place: relative to the project.
        root: the project.

    Raises:
        DataError: there is nothing at that address, the store fails, or what is to be fetched has no room.
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
    names = {one.name for one in objects}
    refused = tuple(one.name for one in objects if not _is_file_name(one.name, names))
    wanted = {root / place / one.name: one for one in objects if one.name not in refused}
    left = {path: one for path, one in wanted.items() if not _is_there(path, one)}
    _check_room(left.values(), wanted.values(), root, address)
    removed = _remove_others(root / place, wanted)
    if left:
        with ThreadPoolExecutor(THREADS) as pool, progress(f"fetch {address}", len(left)) as advance:
            for _ in pool.map(lambda item: _fetch(place, *item), left.items()):
                advance(1)
    return Synced(fetched=len(left), kept=len(wanted) - len(left), removed=removed, refused=refused)


def bring(path: str | None, root: Path) -> None:
    """Fetches a mirrored file, or what a mirrored folder lacks, if it is not there; does nothing for any other path, or
    where the store no longer has it. Raises DataError where the store cannot be asked."""
    if path is None or not is_mirror(path) or (root / path).is_file():
        return
    objects = listing(Path(path))
    names = {one.name for one in objects}
    for one in objects:
        if _is_file_name(one.name, names) and not _is_there(root / path / one.name, one):
            _fetch(Path(path), root / path / one.name, one)


def _is_uri(value: object) -> bool:
    return isinstance(value, str) and value.startswith(SCHEME)


def _mirror(uri: str, where: str) -> str:
    bucket, *parts = uri.removeprefix(SCHEME).rstrip("/").split("/")
    if not bucket or any(part in ("", ".", "..") for part in parts) or set("?#@\\") & set(uri):
        raise ConfigError(
            "this is no address of a bucket or of something in it",
            where=where,
            seen=uri,
            allowed="s3://bucket/prefix",
            remedy="The server, its region and the keys are set in the environment: AWS_ENDPOINT_URL, AWS_REGION, …",
        )
    return MIRRORS.joinpath(bucket, *parts).as_posix()


def _address(place: Path) -> str:
    """`bucket/prefix`, as the store calls it."""
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
        raise DataError(
            "the object store does not answer as it should",
            where=SCHEME + address,
            seen=str(error)[:300],
            remedy="Check AWS_ENDPOINT_URL, AWS_REGION, the keys and the network; what was fetched is kept",
            code=Code.OBJECT_STORE,
        ) from error


def _is_file_name(name: str, names: Set[str]) -> bool:
    """Whether an object can be a file below the mirror: a plain relative name that no other object uses as a folder."""
    parts = name.split("/")
    plain = name == "" or not any(part in ("", ".", "..") or "\0" in part for part in parts)
    return plain and not any(other.startswith(f"{name}/") for other in names if name and len(other) > len(name))


def _is_there(path: Path, one: Object) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (one.size, one.changed_ns)


def _check_room(left: Iterable[Object], wanted: Iterable[Object], root: Path, address: str) -> None:
    missing, total = sum(one.size for one in left), sum(one.size for one in wanted)
    disk = shutil.disk_usage(root)
    budget = float(os.environ.get(BUDGET_VARIABLE, "inf")) * GIB
    free = disk.free - KEPT_FREE * disk.total
    if missing and (total > budget or missing > free):
        raise DataError(
            "the corpus has no room on this disk" if missing > free else "the corpus is larger than it may be",
            where=address,
            seen=f"{total / GIB:.2f} GiB, of which {missing / GIB:.2f} GiB are to be fetched",
            allowed=f"{free / GIB:.2f} GiB free" if missing > free else f"{BUDGET_VARIABLE}={budget / GIB:g}",
            remedy="Name a narrower prefix, put .mer on a larger disk, or mount the bucket and name the mount",
            code=Code.NO_ROOM,
        )


def _remove_others(folder: Path, wanted: Mapping[Path, Object]) -> int:
    """Deletes files that the store does not list, what an interrupted fetch left among them; returns how many."""
    removed = 0
    for place, _, files in os.walk(folder, topdown=False):
        for path in (Path(place, name) for name in files):
            if path not in wanted:
                path.unlink()
                removed += 1
        if Path(place) != folder and not os.listdir(place):
            os.rmdir(place)
    return removed


def _fetch(place: Path, path: Path, one: Object) -> None:
    base = _address(place)
    source = f"{base}/{one.name}" if one.name else base
    with _named(source), atomic_file(path) as beside:
        with _store(place).open_input_stream(source) as stream, beside.open("wb") as file:
            shutil.copyfileobj(stream, file, CHUNK_BYTES)
        if beside.stat().st_size != one.size:
            raise DataError(
                "the object changed while it was fetched",
                where=SCHEME + source,
                seen=f"{beside.stat().st_size} bytes",
                allowed=f"{one.size} bytes, as listed",
                remedy="Run again",
                code=Code.OBJECT_STORE,
            )
        os.utime(beside, ns=(one.changed_ns, one.changed_ns))
