"""`mer datasets download NAME`: fetches and unpacks openly licensed corpora; for others, prints where to apply."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from components.contracts.atomic import read_json, write_json
from components.contracts.codes import Code
from components.contracts.errors import ConfigError, UnavailableError
from components.datasets.about import ACCESS
from components.datasets.base import Adapter
from components.datasets.download.fetch import SPARE_BYTES, Place, Remote, fetch, no_room
from components.datasets.download.sources import SOURCES, CorpusPart, with_pointer
from components.datasets.download.unpack import unpack
from components.datasets.registry import adapter
from components.runtime.progress import progress
from pipelines.project import find_root, load

if TYPE_CHECKING:
    import httpx

# Beside the corpus: what was fetched, with its checksum, so that a second call does not fetch it again.
KEPT = ".downloads"
# Parallel downloads of many small files. More would be unkind to a free host.
THREADS = 4
MANY = 50
TIMEOUT_S = 60.0


def command(
    name: str,
    *,
    to: Path | None,
    parts: Sequence[str],
    accept: bool,
    mirror: str | None = None,
    keep: bool = False,
) -> str:
    """Downloads a corpus and returns the next step.

    Args:
        name: of the dataset.
        to: the folder; `<name>.root` of params.yaml, or `corpora/<name>`, when left out.
        parts: of the corpus, see `SOURCES`; the usual ones when empty.
        accept: that the licence was read and is kept.
        mirror: a host that has the files as `<mirror>/<host>/<path>`.
        keep: archives, after they were unpacked.

    Raises:
        ConfigError: there is nothing to download, a part is unknown, or the licence was not accepted.
        UnavailableError: the corpus is given on application only; a host does not answer; the disk has no room.
        DataError: a file is not the published one.
    """
    corpus = adapter(name)
    about = corpus.about
    _check_access(corpus)
    available = SOURCES[name]
    chosen = [_part(available, part) for part in parts] or [part for part in available.values() if part.usual]
    folder = _folder(name, to)
    if not accept:
        raise ConfigError(
            "the licence was not accepted",
            where=f"mer datasets download {name}",
            seen=f"{about.title}: {corpus.licence}. {about.consent}",
            allowed="--accept-licence, once you have read the licence and will keep it",
            remedy=f"It is at {about.homepage}; cite {about.paper}",
            code=Code.LICENCE,
        )
    print(f"{about.title}\nlicence   {corpus.licence} (accepted)\nfrom      {about.homepage}\nto        {folder}")
    with _client() as client:
        files = [file for part in chosen for file in part.files(client, lambda url: mirrored(url, mirror))]
        fetched = _fetch_all(client, files, folder, keep=keep)
    outcome = (
        f"{fetched} of {len(files)} files fetched"
        if fetched
        else f"all {len(files)} files were there already, according to {folder / KEPT}"
    )
    return f"{outcome}\nnext      mer datasets check {name} --root {folder}"


def parts_of(name: str) -> str:
    """The parts of a corpus, as printed text."""
    if name not in SOURCES:
        return ""
    lines = [
        f"  --part {key:<14} {part.meaning}{'' if part.usual else ' (only with --part)'}"
        for key, part in SOURCES[name].items()
    ]
    return "\n".join(["parts that can be downloaded:", *lines])


def mirrored(url: str, mirror: str | None) -> str:
    """An address on the mirror."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return url if mirror is None else f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}{query}"


def _check_access(one: Adapter[Any]) -> None:
    about = one.about
    if one.name in SOURCES:
        return
    if about.access == "apply":
        raise UnavailableError(
            f"{about.title} is given on application only",
            where=about.homepage,
            seen=one.licence,
            remedy=f"{about.how}. Then: mer datasets check {one.name} --root DIR",
            code=Code.ON_APPLICATION,
        )
    what = f"there is nothing to download: {ACCESS[about.access]}"
    raise ConfigError(what, where=one.name, remedy=about.how, code=Code.NOTHING_TO_DOWNLOAD)


def _part(known: Mapping[str, CorpusPart], part: str) -> CorpusPart:
    if part not in known:
        raise ConfigError.unknown("part", part, known, where="--part")
    return known[part]


def _folder(name: str, to: Path | None) -> Path:
    if to is not None:
        return Path.cwd() / to.expanduser()
    root = find_root()
    given = load(root).sources.get(name, {}).get("root")
    return root / Path(given).expanduser() if isinstance(given, str) else root / "corpora" / name


def _client() -> httpx.Client:
    """A client behind the proxies of the environment. Raises UnavailableError: one of them is of an unknown kind."""
    import httpx

    try:
        return httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, headers={"User-Agent": "mer"})
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        # The kind alone: an address may hold a password.
        proxies = sorted((name, urlsplit(url).scheme) for name, url in getproxies().items() if name != "no")
        raise UnavailableError(
            "a proxy of the environment cannot be used",
            where="mer datasets download",
            seen=", ".join(f"{name}_proxy={scheme}://…" for name, scheme in proxies),
            allowed="http://HOST:PORT or https://HOST:PORT",
            remedy="Name an HTTP proxy or unset the variable; for a SOCKS proxy add the package socksio to .venv",
            code=Code.DOWNLOAD,
        ) from error


def _fetch_all(client: httpx.Client, files: Sequence[Remote], folder: Path, *, keep: bool) -> int:
    """Fetches and unpacks the missing files; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not _is_done(file, folder)]
    needed = sum((file.size or 0) * (2 if file.unpack else 1) for file in missing)
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise no_room(folder, needed + SPARE_BYTES, free)
    if len(missing) <= MANY:
        return sum(_one(client, file, folder, keep=keep) for file in missing)
    with progress(f"download to {folder.name}", len(missing)) as advance, ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(_quietly, client, file, folder, advance) for file in missing]
        try:
            return sum(future.result() for future in futures)
        finally:  # an error or Ctrl-C: waiting files are cancelled, running ones are finished
            for future in futures:
                future.cancel()


def _quietly(client: httpx.Client, file: Remote, folder: Path, advance: Callable[[int], None]) -> bool:
    came = fetch(client, with_pointer(client, file), _place(file, folder))
    advance(1)
    return came


def _one(client: httpx.Client, file: Remote, folder: Path, *, keep: bool) -> bool:
    file, place = with_pointer(client, file), _place(file, folder)
    with _bar(client, file, place) as advance:
        came = fetch(client, file, place, advance=advance)
    if file.unpack:
        names = unpack(place.file, folder, strip=file.strip)
        write_json(_unpacked(file, folder), names)
        print(f"{file.path}: {len(names)} files unpacked")
        if not keep:
            place.file.unlink()
    return came


def _bar(client: httpx.Client, file: Remote, place: Place) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar of the remaining bytes; none for a file of unknown length."""
    size = file.size or _length(client, file.url)
    done = place.part.stat().st_size if place.part.is_file() else 0
    if size <= done:
        return nullcontext(lambda count: None)
    return progress(f"{file.path} (bytes)", size - done)


def _length(client: httpx.Client, url: str) -> int:
    import httpx

    try:
        return int(client.head(url).headers.get("Content-Length", 0))
    except (httpx.HTTPError, ValueError):
        return 0


def _place(file: Remote, folder: Path) -> Place:
    kept = folder / KEPT
    return Place(file=(kept if file.unpack else folder) / file.path, record=kept / f"{file.path}.sha256")


def _unpacked(file: Remote, folder: Path) -> Path:
    return folder / KEPT / f"{file.path}.unpacked"


def _is_done(file: Remote, folder: Path) -> bool:
    """Whether the file exists, or everything that was in it: deleted files are fetched again."""
    if not file.unpack:
        return _place(file, folder).is_whole()
    listed = _unpacked(file, folder)
    return listed.is_file() and all((folder / name).is_file() for name in read_json(listed))
