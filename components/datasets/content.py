"""The content hash of a clip, and a cache so that a second run over a big corpus does not read every file again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from components.contracts.atomic import write_json
from components.contracts.errors import MediaError
from components.contracts.fingerprint import file_sha256, fingerprint
from components.contracts.layout import Layout
from components.contracts.records import Clip
from components.datasets.base import files_below
from components.media.numbered import numbered_pictures, pictures_sha256, pictures_state
from components.runtime.progress import progress

THREADS = 4
KEY_DIGITS = 32


def media_sha256(path: Path) -> str:
    """The hash of a media file, or of a folder of numbered pictures. Raises OSError, MediaError: it cannot be read."""
    return pictures_sha256(path) if path.is_dir() else file_sha256(path)


def content_sha256(
    clip: Clip, root: Path, hash_of: Callable[[Path], str] = media_sha256, *, given: Sequence[str] = ()
) -> str:
    """SHA-256 over everything that alignment reads: the bytes of each media file and numbered picture, the chosen
    tracks, the transcript and the word times, and the given features with their places in time.

    Neither the names and places of the files nor the labels are part of it.

    Args:
        clip: the clip.
        root: where relative paths start.
        hash_of: the hash of a file, or of a folder of numbered pictures.
        given: the hash of each array of `clip.given`.
    """
    files = {"video": clip.video_path, "audio": clip.audio_path, "physio": clip.physio_path}
    if clip.pictures_path is not None:
        files["pictures"] = clip.pictures_path
    content: dict[str, Any] = {
        "files": {kind: hash_of(root / path) for kind, path in files.items() if path is not None},
        "transcript": clip.transcript,
        "words": [[word.text, word.start_s, word.end_s] for word in clip.words],
    }
    if clip.pictures_rate_hz is not None:
        content["pictures_rate_hz"] = clip.pictures_rate_hz
    if clip.start_s or clip.end_s is not None:
        content["span"] = [clip.start_s, clip.end_s]
    if clip.crop is not None:
        content["crop"] = list(clip.crop)
    if clip.video_track is not None or clip.audio_track is not None:
        content["tracks"] = [clip.video_track, clip.audio_track]
    if clip.given:
        content["given"] = [
            [features.modality, features.rate_hz, features.start_s, features.end_s, digest]
            for features, digest in zip(clip.given, given, strict=True)
        ]
    return fingerprint(content)


class HashCache:
    """File hashes, cached by path, size and modification time.

    A file whose size and time (in nanoseconds) are unchanged is taken as unchanged, as git and DVC do; so is a folder
    of numbered pictures of which that holds. The cache is a JSON file that holds digests of the paths, not the paths; a
    damaged one counts as empty. Threads may share it: a recording that many clips are cut from is read once, and
    concurrent calls for the same file wait for it.

    Args:
        path: the cache's file.
        known: another cache's file, whose entries are used but not kept.
    """

    def __init__(self, path: Path, *, known: Path | None = None) -> None:
        self._path = path
        self._stored = {**(_read(known) if known is not None else {}), **_read(path)}
        self._used: dict[str, list[object]] = {}
        self._reading: dict[str, Lock] = {}

    def __call__(self, file: Path) -> str:
        """The SHA-256 of a file or of a folder of numbered pictures. Raises as `media_sha256`."""
        key = path_key(file)
        with self._reading.setdefault(key, Lock()):
            state = _state(file)
            entry = self._used.get(key) or self._stored.get(key)
            digest = str(entry[2]) if entry is not None and entry[:2] == state else media_sha256(file)
            self._used[key] = [*state, digest]
        return digest

    def __contains__(self, file: Path) -> bool:
        """Whether the hash is known without reading the file. Raises as `__call__`, if the file is not there."""
        key = path_key(file)
        entry = self._used.get(key) or self._stored.get(key)
        return entry is not None and entry[:2] == _state(file)

    def save(self) -> None:
        """Writes the entries used since the cache was opened; the others are dropped."""
        write_json(self._path, self._used)


def inputs_cache(layout: Layout, dataset: str) -> Path:
    """The cache of all files of a corpus, which the stage `inputs` keeps."""
    return layout.state / "hashes" / f"{dataset}-inputs.json"


def clips_cache(layout: Layout, dataset: str) -> Path:
    """The cache of a corpus's clips, which the stage `datasets` keeps."""
    return layout.state / "hashes" / f"{dataset}.json"


def path_key(file: Path) -> str:
    """What stands for a path in a cache: it tells nobody what a file is called."""
    return hashlib.sha256(str(file).encode(errors="surrogateescape")).hexdigest()[:KEY_DIGITS]


def content_of(place: Path, cache: HashCache, *, what: str = "read") -> list[tuple[str, int, str]]:
    """(name relative to the place, bytes, SHA-256) of every file at or below a place, by name; empty if it does not
    exist. The numbered pictures of a folder are one entry. Litter (`litter.py`) is not part of a corpus.

    Cost: every byte is read once, by a few threads; later on only what changed. While there is something to read,
    progress is shown as `what`.
    """
    files_of: dict[Path, list[Path]] = {}
    for path in (place,) if place.is_file() else files_below(place):
        if path.is_file():  # not a broken link
            files_of.setdefault(path.parent, []).append(path)
    entries = [entry for folder, files in files_of.items() for entry in _entries(folder, files)]
    unread = [path for path, _ in entries if not _is_known(path, cache)]
    if unread:
        with ThreadPoolExecutor(THREADS) as pool, progress(what, len(unread)) as advance:
            for _ in pool.map(lambda path: _digest(path, cache), unread):
                advance(1)
    return sorted((os.path.relpath(path, place), size, _digest(path, cache)) for path, size in entries)


def _entries(folder: Path, files: list[Path]) -> list[tuple[Path, int]]:
    """(path, bytes) of what is hashed on its own: each file, or a folder of numbered pictures and its other files."""
    sizes = {path: path.stat().st_size for path in files}
    try:
        pictures = sizes.keys() & set(numbered_pictures(folder).values())
    except MediaError:
        pictures = set()
    if not pictures:
        return list(sizes.items())
    rest = [(path, size) for path, size in sizes.items() if path not in pictures]
    return [(folder, sum(size for path, size in sizes.items() if path in pictures)), *rest]


def _is_known(path: Path, cache: HashCache) -> bool:
    try:
        return path in cache
    except (OSError, MediaError):
        return True


def _digest(path: Path, cache: HashCache) -> str:
    try:
        return cache(path)
    except (OSError, MediaError):
        return "unreadable"


def _state(file: Path) -> list[object]:
    """Two values that change when the content does, obtained without reading it."""
    if file.is_dir():
        return [*pictures_state(file)]
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(path: Path) -> dict[str, list[object]]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {key: entry for key, entry in stored.items() if isinstance(entry, list) and len(entry) == 3}
