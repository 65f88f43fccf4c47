"""Removes a person from the project's own files: tables, shards, features, caches, rendered media.

The order matters if the command is interrupted: files that are only found through the clip tables are changed first,
the clip tables last. Each change is atomic, and running the command again makes the remaining ones.

Outputs lose the person's rows, or are removed as a whole where rows cannot be taken out (a report; a catalog, which is
described by its hash). After the next `mer run` the outputs are as if the person had never been in the corpus. Caches
lose every file that names the person.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.alignment.shards import ShardWriter, keys_of, rows_of
from components.contracts.atomic import atomic_dir, atomic_file, read_json, write_json
from components.contracts.fingerprint import file_digest
from components.contracts.layout import Layout
from components.contracts.readmitted import read_readmitted, write_readmitted
from components.datasets.content import clips_cache, inputs_cache, path_key
from components.features.store import FeatureStore
from pipelines.commands.withdrawal.trace import Trace, files_below, is_parquet, media_file

NAMING = ("clip_id", "subject_id", "key")
CHUNK_BYTES, OVERLAP_BYTES = 4 << 20, 8 << 10
START_BYTES = 6
# Folders of `.mer` whose entries are removed as a whole: reports of ablations, bundles, pages of a dataset, checkouts.
UNITS = ("ablation", "bundles", "data_docs", "reproduce")
# Those with trainings that have no list of their people: unfinished ones, and trials.
TRAININGS = ("train", "tune")
RESULTS, TRASH = "results", "trash"


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One change of a file: where, a description, and the function that makes it."""

    path: Path
    what: str
    act: Callable[[], object]


class Forgetting:
    """Removes one person from one project.

    Args:
        trace: the person, and everything by which files name them.
        layout: the project.
        cache: DVC's cache of outputs, if there is one.
        mlflow: files and folders below the project that belong to MLflow; they are only read.
    """

    def __init__(self, trace: Trace, layout: Layout, *, cache: Path | None, mlflow: Sequence[Path] = ()) -> None:
        self._trace, self._layout, self._cache, self._mlflow = trace, layout, cache, mlflow
        self._needles = _needles(trace)

    def run(self, done: Callable[[Removal], None] = lambda change: None) -> list[Removal]:
        """Makes all changes; `done` is called after each."""
        shutil.rmtree(self._layout.state / TRASH, ignore_errors=True)  # of an interrupted run
        made = []
        for change in self.changes():
            change.act()
            made.append(change)
            done(change)
        shutil.rmtree(self._layout.state / TRASH, ignore_errors=True)
        return made

    def changes(self) -> Iterator[Removal]:
        """The changes to make, in order."""
        layout, name = self._layout, self._trace.dataset
        yield from self._in_cache()
        yield from self._in_state()
        for folder in (layout.evaluated, layout.catalog):
            if self._inside(folder):
                yield self._removal(folder)
        yield from self._tables(layout.validated(name))
        yield from self._features(layout.features(name))
        yield from self._aligned(layout.aligned(name))
        yield from self._readmitted(layout.readmitted)
        yield from self._tables(layout.inputs)
        yield from map(self._removal, self._rendered())
        yield from self._tables(layout.dataset(name))

    def in_mlflow(self) -> list[Path]:
        """MLflow's files that name the person: evidence of runs and versions, which is not removed here."""
        return [path for folder in self._mlflow for path in files_below(folder) if self._names_them(path)]

    def _removal(self, path: Path) -> Removal:
        return Removal(path=path, what="removed", act=partial(self._discard, path))

    def _discard(self, path: Path) -> None:
        """Moves the path away in one step, so that an interrupted deletion leaves nothing half removed in its place."""
        trash = self._layout.state / TRASH / uuid.uuid4().hex
        trash.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(path, trash)
        except OSError:  # on a different file system, as a cache may be
            trash = path
        if trash.is_dir():
            shutil.rmtree(trash)
        else:
            trash.unlink(missing_ok=True)

    def _in_cache(self) -> Iterator[Removal]:
        """Copies of outputs: found by their content, and media by their hash, which is their name in the cache."""
        if self._cache is None:
            return
        media = {file_digest(path, "md5") for path in self._rendered()}
        for path in files_below(self._cache):
            if path.parent.name + path.name in media or self._names_them(path):
                yield self._removal(path)

    def _in_state(self) -> Iterator[Removal]:
        state = self._layout.state
        if self._inside(self._layout.catalog):
            yield from map(self._removal, [path for name in TRAININGS for path in sorted((state / name).glob("*"))])
        units = [path for name in UNITS for path in sorted((state / name).glob("*")) if path.name != RESULTS]
        yield from (self._removal(unit) for unit in units if self._inside(unit))
        for path in files_below(state):
            if self._is_mlflows(path) or any(path.is_relative_to(unit) for unit in units) or not self._names_them(path):
                continue
            if path != journal(self._layout, self._trace):
                yield self._removal(path)
        dataset = self._trace.dataset
        for path in (clips_cache(self._layout, dataset), inputs_cache(self._layout, dataset)):
            if path.is_file() and self._hashed & read_json(path).keys():
                yield Removal(path=path, what="entries removed", act=partial(self._forget_hashes, path))

    def _is_mlflows(self, path: Path) -> bool:
        """Whether a file is MLflow's, including the files that a database writes beside itself."""
        return any(path.is_relative_to(place) or str(path).startswith(f"{place}-") for place in self._mlflow)

    def _tables(self, folder: Path) -> Iterator[Removal]:
        """Tables lose the person's rows; other files that name the person are removed, to be made anew."""
        for path in files_below(folder):
            if not self._names_them(path):
                continue
            if is_parquet(path):
                yield Removal(
                    path=path, what=f"{self._count(path)} rows removed", act=partial(self._without_rows, path)
                )
            else:
                yield self._removal(path)

    def _but_shards(self, folder: Path) -> Iterator[Removal]:
        return (change for change in self._tables(folder) if not change.path.name.startswith("shard-"))

    def _features(self, folder: Path) -> Iterator[Removal]:
        store = FeatureStore(folder)
        for modality in store.modalities():
            keys = store.keys(modality)
            theirs = keys & self._trace.keys
            if theirs:
                what = f"features of {len(theirs)} clips removed"
                act = partial(store.compact, modality, keys - theirs)
                yield Removal(path=folder / modality, what=what, act=act)
        yield from self._but_shards(folder)

    def _aligned(self, folder: Path) -> Iterator[Removal]:
        theirs = self._trace.clip_ids & keys_of(folder).keys()
        if theirs:
            yield Removal(path=folder, what=f"{len(theirs)} clips removed", act=partial(self._without_clips, folder))
        yield from self._but_shards(folder)

    def _without_clips(self, folder: Path) -> None:
        with atomic_dir(folder) as beside:
            with ShardWriter(beside) as shards:
                shards.write_all(
                    row for row in rows_of(folder) if row["clip_id"][0].as_py() not in self._trace.clip_ids
                )
            shutil.copytree(folder, beside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("shard-*"))

    def _readmitted(self, path: Path) -> Iterator[Removal]:
        rows = read_readmitted(path)
        rest = [row for row in rows if row.clip_id not in self._trace.clip_ids]
        if len(rest) < len(rows):
            what = f"{len(rows) - len(rest)} rows removed"
            yield Removal(path=path, what=what, act=partial(write_readmitted, path, rest))

    def _rendered(self) -> list[Path]:
        """Their recordings that the project made or downloaded; a corpus elsewhere belongs to its owner."""
        media = sorted(media_file(self._layout, path) for path in self._trace.media)
        own = (self._layout.root / "data", self._layout.state)
        return [path for path in media if path.exists() and any(path.is_relative_to(folder) for folder in own)]

    def _inside(self, place: Path) -> bool:
        return any(self._names_them(path) for path in files_below(place))

    def _names_them(self, path: Path) -> bool:
        if is_parquet(path):
            return self._count(path) > 0
        try:
            return any(self._in_text(chunk) for chunk in _chunks(path))
        except OSError:
            return False

    def _in_text(self, chunk: bytes) -> bool:
        return any(
            any(needle in chunk for needle in needles) for start, needles in self._needles.items() if start in chunk
        )

    def _count(self, path: Path) -> int:
        """The number of rows of a table that are theirs; 0 for a table that cannot be read."""
        try:
            columns = _naming(pq.read_schema(path))
            return int(pc.sum(self._theirs(pq.read_table(path, columns=columns))).as_py() or 0) if columns else 0
        except (OSError, pa.ArrowException):
            return 0

    def _theirs(self, table: pa.Table) -> pa.Array:
        """(rows,) True where a row is theirs."""
        values = {"clip_id": self._trace.clip_ids, "subject_id": {self._trace.subject_id}, "key": self._trace.keys}
        mask = pa.array([False] * table.num_rows)
        for name in _naming(table.schema):
            theirs = pa.array(sorted(values[name]), pa.string())
            mask = pc.or_(mask, pc.is_in(table[name].combine_chunks(), value_set=theirs))
        return mask

    def _without_rows(self, path: Path) -> None:
        """Rewrites a table without their rows, one row group at a time."""
        with (
            pq.ParquetFile(path) as file,
            atomic_file(path) as beside,
            pq.ParquetWriter(beside, file.schema_arrow, compression="zstd") as writer,
        ):
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                writer.write_table(table.filter(pc.invert(self._theirs(table))))

    def _forget_hashes(self, path: Path) -> None:
        write_json(path, {name: entry for name, entry in read_json(path).items() if name not in self._hashed})

    @cached_property
    def _hashed(self) -> set[str]:
        """How the caches of file hashes name their media."""
        return {path_key(media_file(self._layout, recording)) for recording in self._trace.media}


def journal(layout: Layout, trace: Trace) -> Path:
    """The file in which an unfinished withdrawal keeps its trace of the person, so that it can be finished."""
    return layout.state / f"withdraw-{hashlib.sha256(trace.subject_id.encode()).hexdigest()[:16]}.json"


def _needles(trace: Trace) -> dict[bytes, tuple[bytes, ...]]:
    """Clip ids and media paths as they are written in text, in JSON, in JSON inside JSON, and in HTML, by their first
    bytes: most share these and other text seldom contains them, so a large file is searched only once."""
    texts = set()
    for name in (*trace.clip_ids, *trace.media):
        texts |= {name, json.dumps(name)[1:-1], json.dumps(json.dumps(name))[3:-3], html.escape(name)}
    by_start: dict[bytes, tuple[bytes, ...]] = {}
    for text in sorted(texts):
        needle = text.encode(errors="surrogateescape")
        by_start[needle[:START_BYTES]] = (*by_start.get(needle[:START_BYTES], ()), needle)
    return by_start


def _chunks(path: Path) -> Iterator[bytes]:
    """A file in pieces, which overlap by more than the longest name."""
    with path.open("rb") as stream:
        before = b""
        while block := stream.read(CHUNK_BYTES):
            yield before + block
            before = block[-OVERLAP_BYTES:]


def _naming(schema: pa.Schema) -> list[str]:
    return [name for name in NAMING if name in schema.names and pa.types.is_string(schema.field(name).type)]
