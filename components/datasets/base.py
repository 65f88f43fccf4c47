"""The base class of corpus adapters: one `Adapter` per corpus turns the corpus's own layout into clip rows.

An adapter only *reads names and labels*. Everything that is the same for all corpora is done once, after it, in
`stage.py`: probing the media files, hashing their content, rejecting unknown emotion names and duplicate ids.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import ValidationError

from components.contracts.codes import Code
from components.contracts.config import ADAPTER, Section, section_error
from components.contracts.errors import DataError
from components.contracts.records import Clip, Quarantined
from components.datasets import remote
from components.datasets.about import About
from components.datasets.litter import litter

STAGE = "datasets"

# `Clip.content_sha256` as an adapter leaves it; the stage fills it in.
NOT_HASHED = ""

# File name endings of recordings whose containers the decoder reads.
VIDEO = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".flv", ".f4v"),
    *(".wmv", ".asf", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".ogv"),
)
SOUND = (
    *(".wav", ".w64", ".flac", ".mp3", ".m4a", ".m4b", ".mka", ".weba", ".wma"),
    *(".ogg", ".oga", ".opus", ".aac", ".aiff", ".aif", ".aifc", ".caf", ".amr"),
)

# Of photographs, each a clip of one moment, and of animations.
PICTURES = (".jpg", ".jpeg", ".jfif", ".png", ".apng", ".webp", ".gif")

# Options with such names hold a path.
PLACE_ENDS = ("_root", "_path", "_file")

OptionsT = TypeVar("OptionsT", bound=Section)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The outcome of a scan: usable clips, rows that were set aside, and notes for the summary (files left out, and
    why).

    `read` holds the paths of the files that were read for these clips beside their media, as clip rows spell paths.

    Where several people count as one subject, `people` maps a clip id to the names of the people in the clip: the part
    of a subject id that follows the dataset's name.
    """

    clips: list[Clip]
    quarantined: list[Quarantined] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    read: Sequence[str] = ()


class Adapter(ABC, Generic[OptionsT]):
    """One corpus.

    Attributes:
        name: the dataset's name in `params.yaml` and in paths. A class has the name of the adapter, with which it
            begins its ids; `names.scan_of` writes the dataset's.
        licence: the terms of the corpus, written on every clip.
        about: further facts that one needs before using it.
        Options: the type of the dataset's own section of `params.yaml`.
        files: options that name a file or folder outside the project, besides `root` and names that end in `_root`,
            `_path` or `_file`; see `places`.
        reads: patterns (`fnmatch`) of the files below the corpus folder that the adapter reads besides recordings:
            tables, transcripts. `check` counts the files that are neither.
    """

    name: str
    licence: ClassVar[str]
    about: ClassVar[About] = About()
    Options: type[OptionsT]
    files: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def scan(self, options: OptionsT, root: Path, seed: int) -> Scan:
        """Lists the corpus.

        Args:
            options: the dataset's section of `params.yaml`.
            root: the project's root; relative paths in `options` start there.
            seed: the project's seed, for corpora that are rendered.

        Raises:
            DataError: the corpus as a whole cannot be read (its folder does not exist). A defect of a single clip is a
                row in `Scan.quarantined`, never an exception.
        """

    def called(self, name: str) -> Self:
        """This adapter for a dataset of a different name."""
        named = copy(self)
        named.name = name
        return named

    @property
    def kind(self) -> str:
        """The name of the adapter, whatever the dataset is called."""
        return type(self).name

    def options(self, section: Mapping[str, Any]) -> OptionsT:
        """The typed section; an address in an object store becomes the path of its mirror (`remote.py`). Raises
        ConfigError: a key is unknown (with the nearest name), missing or out of bounds."""
        own = {key: value for key, value in section.items() if key != ADAPTER}
        local = remote.localised(own, where=f"params.yaml: {self.name}")
        try:
            return self.Options.model_validate(local)
        except ValidationError as error:
            raise section_error(error, self.Options, where=f"params.yaml: {self.name}") from error

    def places(self, options: OptionsT) -> list[Path]:
        """The paths of the corpus on disk, absolute or relative to the project; empty for one that is rendered.

        The files there are inputs of the stage: it runs again when one is added, removed or changed.
        """
        values = options.model_dump(mode="json")
        path_keys = [key for key in sorted(values) if self.is_place(key)]
        return [Path(values[key]).expanduser() for key in path_keys if isinstance(values[key], str) and values[key]]

    def is_place(self, key: str) -> bool:
        """Whether an option holds a path."""
        return key == "root" or key in self.files or key.endswith(PLACE_ENDS)


def corpus_folder(given: str, root: Path, *, dataset: str) -> Path:
    """The folder of a corpus, absolute; from an object store, files that changed are fetched first. Raises DataError if
    it does not exist or is not a folder."""
    if remote.is_mirror(given):
        remote.sync(Path(given), root)
    folder = root / Path(given).expanduser()
    if not folder.is_dir():
        raise DataError(
            "the corpus folder does not exist" if not folder.exists() else "this is a file, not a folder",
            where=f"{dataset}.root",
            seen=str(folder),
            remedy=f"Set `{dataset}: root:` in params.yaml to the corpus; a relative path starts at {root}",
            code=Code.NO_SUCH_FOLDER,
        )
    return folder.resolve()


def corpus_file(given: str, root: Path) -> Path:
    """A file that a section names beside its `root`; from an object store, it is fetched first if it changed."""
    if remote.is_mirror(given):
        remote.sync(Path(given), root)
    return root / Path(given).expanduser()


def files_below(folder: Path, *, skip: Collection[Path] = (), with_litter: bool = False) -> Iterator[Path]:
    """Every file below a folder, broken links included. Links to folders elsewhere are followed, cycles are not, and
    the folders in `skip` are not entered. What systems leave in folders (`litter.py`) is left out, unless asked for."""
    top = os.path.realpath(folder)
    entered = {top, *(os.path.realpath(path) for path in skip)}
    for place, folders, files in os.walk(folder, followlinks=True):
        named = [name for name in sorted(folders) if with_litter or litter(name) is None]
        folders[:] = [name for name in named if _enters(os.path.join(place, name), top, entered)]
        yield from (Path(place, name) for name in files if with_litter or litter(name) is None)


def media_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Every file below a folder with one of the suffixes (lower case, with the dot), in a fixed order.

    A broken link (a git-annex or DVC checkout without its content) is in the list, and so is a pipe or a device with a
    recording's name: a recording is missing there, and the stage reports it.
    """
    accepted = set(suffixes)
    media = (path for path in files_below(folder) if path.suffix.lower() in accepted)
    return sorted(path for path in media if not path.is_dir())


def _enters(path: str, top: str, entered: set[str]) -> bool:
    """Whether to walk a folder: each is walked once, and under its real path if that lies within the corpus."""
    real = os.path.realpath(path)
    if real in entered or (os.path.islink(path) and Path(real).is_relative_to(top)):
        return False
    entered.add(real)
    return True


def stored_path(path: Path, folder: Path, given: str) -> str:
    """The path of a corpus file as clip rows store it: below the folder *as it was given*, so that a relative `root`
    stays relative and the row does not depend on the location of the project."""
    return (Path(given).expanduser() / path.relative_to(folder)).as_posix()


def set_aside(
    dataset: str,
    name: str,
    *,
    code: Code,
    message: str,
    path: str | None = None,
    field: str | None = None,
    seen: str | None = None,
    allowed: str | None = None,
    remedy: str | None = None,
) -> Quarantined:
    """A quarantine row of this stage; `name` is the clip's or file's name in the corpus."""
    return Quarantined(
        dataset=dataset,
        clip_id=f"{dataset}/{name}",
        stage=STAGE,
        code=code,
        message=message,
        path=path,
        field=field,
        seen=seen,
        allowed=allowed,
        remedy=remedy,
    )


def bad_name(dataset: str, path: Path, stored: str, *, what: str, field: str, seen: str, allowed: str) -> Quarantined:
    """The quarantine row of a file whose name does not follow its corpus; `what` describes the wrong part."""
    return set_aside(
        dataset,
        path.stem,
        code=Code.BAD_NAME,
        message=f"{path.name}: {what}",
        path=stored,
        field=field,
        seen=seen,
        allowed=allowed,
        remedy="Rename the file as the corpus does, or remove it from the folder",
    )
