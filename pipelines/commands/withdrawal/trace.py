"""Finds the person with a subject id, and everything by which the project's files name them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.codes import Code
from components.contracts.config import Params
from components.contracts.errors import DataError, MerError
from components.contracts.layout import Layout
from components.contracts.records import MEDIA_PATHS, Clip
from components.datasets.base import Scan
from components.datasets.names import person_of, scan_of
from components.datasets.registry import adapter
from components.datasets.withdrawn import people_in
from components.media.probe import PARQUET_MAGIC

SHOWN_NAMES = 3
SETS = ("joint", "clip_ids", "keys", "media")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One person in one dataset.

    Attributes:
        dataset, subject_id: the person.
        joint: subject ids of their clips; different from their own where several people count as one.
        clip_ids: of every clip they are in.
        keys: of every feature that only these clips have.
        media: paths of the recordings that only these clips have, as in the clip rows.
    """

    dataset: str
    subject_id: str
    joint: frozenset[str] = frozenset()
    clip_ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    media: frozenset[str] = frozenset()

    @property
    def subject_ids(self) -> frozenset[str]:
        """Every subject id that covers them."""
        return self.joint | {self.subject_id}

    def joined(self, other: Trace) -> Trace:
        """The union of two traces of the same person."""
        return replace(self, **{name: getattr(self, name) | getattr(other, name) for name in SETS})

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "dataset": self.dataset,
            "subject_id": self.subject_id,
            **{name: sorted(getattr(self, name)) for name in SETS},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trace:
        """From `to_json`'s value."""
        sets = {name: frozenset(value[name]) for name in SETS}
        return cls(dataset=value["dataset"], subject_id=value["subject_id"], **sets)


@dataclass(frozen=True, kw_only=True)
class CorpusOnDisk:
    """The scan of a corpus on disk; None where it was not scanned, with the reason if that is an error."""

    scan: Scan | None = None
    trouble: str | None = None


def datasets_of(layout: Layout, params: Params) -> tuple[str, ...]:
    """The datasets in use, and those of which only outputs remain."""
    folder = layout.dataset("any").parent
    with_outputs = (path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ()
    return tuple(dict.fromkeys([*params.datasets, *sorted(with_outputs)]))


def read_corpus(name: str, params: Params, layout: Layout) -> CorpusOnDisk:
    """The corpus's own list of its clips; not for a rendered corpus, since a scan would render it."""
    if name not in params.datasets:
        return CorpusOnDisk()
    section = params.sources.get(name, {})
    reader = adapter(name, section)
    try:
        options = reader.options(section)
        return (
            CorpusOnDisk(scan=scan_of(reader, options, layout.root, params.seed))
            if reader.places(options)
            else CorpusOnDisk()
        )
    except MerError as error:
        return CorpusOnDisk(trouble=str(error))


def tables_of(layout: Layout, name: str, cache: Path | None) -> list[Path]:
    """Every table that may link clips to people: of the stages, and their earlier states in DVC's cache."""
    outputs = (layout.dataset(name), layout.validated(name), layout.features(name), layout.catalog, layout.evaluated)
    places = [*outputs, *([cache] if cache is not None else [])]
    return [path for place in places for path in files_below(place) if is_parquet(path)]


def subjects_of(name: str, tables: Iterable[Path], corpus: CorpusOnDisk) -> set[str]:
    """All people in a dataset, according to its tables and to the corpus itself."""
    people = {row["subject_id"] for row in _rows(name, tables, "subject_id")}
    if corpus.scan is not None:
        people |= {subject for clip in corpus.scan.clips for subject in people_in(corpus.scan, clip)}
    return people


def joint_names(corpus: CorpusOnDisk) -> dict[str, tuple[str, ...]]:
    """Joint subject id → the subject ids of the people it covers."""
    people_of: dict[str, set[str]] = {}
    for clip in corpus.scan.clips if corpus.scan is not None else ():
        people_of.setdefault(clip.subject_id, set()).update(people_in(corpus.scan, clip))  # type: ignore[arg-type]
    return {joint: tuple(sorted(people)) for joint, people in people_of.items() if people != {joint}}


def find(name: str, subject_id: str, tables: Sequence[Path], corpus: CorpusOnDisk) -> Trace:
    """Everything by which files name a person.

    A corpus that can be read decides which clips a person is in; a table has only the joint id.
    """
    clips = {clip.clip_id: clip for clip in corpus.scan.clips} if corpus.scan is not None else {}
    inside = {
        clip_id
        for clip_id, clip in clips.items()
        if corpus.scan is not None and subject_id in people_in(corpus.scan, clip)
    }
    joint = {clips[clip_id].subject_id for clip_id in inside}
    for row in _rows(name, tables, "subject_id"):
        if row["clip_id"] not in clips and _covers(row["subject_id"], subject_id, name):
            inside.add(row["clip_id"])
        if row["clip_id"] in inside:
            joint.add(row["subject_id"])
    return Trace(
        dataset=name,
        subject_id=subject_id,
        joint=frozenset(joint),
        clip_ids=frozenset(inside),
        keys=_keys_of(name, tables, inside),
        media=_media_of(name, tables, inside, clips),
    )


def unknown(subject: str, subjects: Iterable[str], datasets: Iterable[str], trouble: Iterable[str]) -> DataError:
    """The error for an unknown person, with the nearest ids."""
    names = sorted(subjects)
    near = difflib.get_close_matches(subject, names, n=SHOWN_NAMES, cutoff=0.5)
    near = near or [name for name in names if name.rpartition("/")[2] == subject.rpartition("/")[2]][:SHOWN_NAMES]
    hints = [f"Nearest: {', '.join(near)}"] if near else []
    hints += [f"Not read: {reason}" for reason in trouble]
    hints += [] if names else ["Nothing was processed yet: `mer run --stage datasets` lists the people"]
    return DataError(
        "no person has this id",
        where="mer withdraw",
        seen=subject,
        allowed=f"one of {len(names)} subject ids of {', '.join(datasets)}, such as {names[0]}" if names else None,
        remedy=". ".join(hints) or None,
        code=Code.UNKNOWN_SUBJECT,
    )


def _covers(joint: str, subject_id: str, dataset: str) -> bool:
    """Whether a subject id of a table is this person's, or a joint id that covers them."""
    joint = person_of(joint)  # of a table that was written before names had one spelling
    return joint == subject_id or subject_id.partition("/")[2] in joint.removeprefix(f"{dataset}/").split("+")


def _rows(name: str, tables: Iterable[Path], *columns: str) -> Iterator[dict[str, Any]]:
    """`clip_id` and further columns of the dataset's clips, from every table that has them."""
    required = ["clip_id", *columns]
    for path in tables:
        try:
            if set(required) <= set(pq.read_schema(path).names):
                rows = pq.read_table(path, columns=required).to_pylist()
                yield from (row for row in rows if row["clip_id"].startswith(f"{name}/"))
        except (OSError, pa.ArrowException):  # a damaged table names no person
            continue


def _keys_of(name: str, tables: Iterable[Path], inside: set[str]) -> frozenset[str]:
    theirs: set[str] = set()
    others: set[str] = set()
    for row in _rows(name, tables, "keys"):
        (theirs if row["clip_id"] in inside else others).update(key for _, key in row["keys"])
    return frozenset(theirs - others)


def _media_of(name: str, tables: Iterable[Path], inside: set[str], clips: Mapping[str, Clip]) -> frozenset[str]:
    of_clip = {clip_id: _paths(vars(clip)) for clip_id, clip in clips.items()}
    for row in _rows(name, tables, *MEDIA_PATHS):
        of_clip.setdefault(row["clip_id"], _paths(row))
    theirs = {path for clip_id, paths in of_clip.items() if clip_id in inside for path in paths}
    return frozenset(theirs - {path for clip_id, paths in of_clip.items() if clip_id not in inside for path in paths})


def files_below(place: Path) -> list[Path]:
    """Every file at or below a path, without following links to folders, in a fixed order."""
    if place.is_file():
        return [place]
    paths = [Path(folder, name) for folder, _, names in os.walk(place) for name in names]
    return sorted(path for path in paths if path.is_file())


def is_parquet(path: Path) -> bool:
    """Whether a file begins like a Parquet table."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    except OSError:
        return False


def _paths(row: Mapping[str, Any]) -> set[str]:
    return {row[name] for name in MEDIA_PATHS if row[name] is not None}


def media_file(layout: Layout, path: str) -> Path:
    """The file of a path in a clip row."""
    return layout.root / Path(path).expanduser()
