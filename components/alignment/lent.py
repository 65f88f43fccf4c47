"""Media of clips for actors whose machine does not have them.

Media of a corpus in an object store every machine fetches itself (`datasets/remote.py`). With `runtime.store` the
machine with the project puts the others there, by their content; an actor fetches those of a clip before it aligns it,
and keeps them until a clip has others. So a node holds the media of one clip per actor, however large the corpus is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.contracts.records import MEDIA_PATHS, Clip
from components.datasets import remote
from components.datasets.staged import Staging
from components.runtime.node_folder import node_folder

NODE_PREFIX = "alignment-"
# Where files with an absolute path are, below the folder of an actor.
ABSOLUTE = "absolute"


def lend_media(clips: Iterable[Clip], root: Path, staging: Staging) -> dict[str, dict[str, str]]:
    """Puts media into the store of `staging`: clip id → path as the clip has it → address.

    A path that is missing here is left out: aligning the clip then says so. Raises DataError: the store fails.
    """
    if staging.address is None:
        return {}
    files = {clip.clip_id: _files(clip, root) for clip in clips}
    addresses = staging.lend(dict.fromkeys(path for own in files.values() for path in own.values()))
    return {clip_id: {name: addresses[path] for name, path in own.items()} for clip_id, own in files.items()}


def _files(clip: Clip, root: Path) -> dict[str, Path]:
    """The clip's files that this machine has, with those of a folder of pictures; none of a mirror."""
    found: dict[str, Path] = {}
    for name in (*clip.media_paths, *(given.path for given in clip.given)):
        path = root / name
        if remote.is_mirror(name):
            continue
        if path.is_dir():
            found |= {f"{name}/{file.relative_to(path).as_posix()}": file for file in path.rglob("*") if file.is_file()}
        elif path.is_file():
            found[name] = path
    return found


class LentMedia:
    """The folder of one actor, in which a clip's media are as in the project's.

    Attributes:
        root: in place of the project's folder.
    """

    def __init__(self) -> None:
        for left in node_folder().glob(f"{NODE_PREFIX}*"):
            if not _is_alive(int(left.name.removeprefix(NODE_PREFIX))):
                shutil.rmtree(left, ignore_errors=True)
        self.root = node_folder() / f"{NODE_PREFIX}{os.getpid()}"
        self.root.mkdir(exist_ok=True)
        self._held: Mapping[str, Any] = {}

    def bring(self, clip: Clip, addresses: Mapping[str, str]) -> Clip:
        """Fetches the media of a clip; returns it with the paths that they have here. Raises DataError."""
        wanted = {**addresses, **{path: path for path in clip.media_paths if remote.is_mirror(path)}}
        if wanted != self._held:
            shutil.rmtree(self.root)
            self.root.mkdir()
            self._held = {}
            for name, address in addresses.items():
                path = self.root / _relative(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with remote.opened(address) as source, path.open("wb") as file:
                    shutil.copyfileobj(source, file, remote.CHUNK_BYTES)
            for name in clip.media_paths:
                remote.bring(name, self.root)
            self._held = wanted
        own: dict[str, Any] = {name: _relative(value) for name in MEDIA_PATHS if (value := getattr(clip, name))}
        given = tuple(replace(features, path=_relative(features.path)) for features in clip.given)
        return replace(clip, **own, given=given)


def _relative(name: str) -> str:
    return f"{ABSOLUTE}{name}" if name.startswith("/") else name


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of somebody else has got its number
        return True
    return True
