"""The columns of a catalog that its splits are made of: a few numbers per clip, however many clips there are.

Legend: N clips, K classes, S splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.catalog.rows import PUBLISHED, UNASSIGNED_SCHEMA
from components.catalog.splits import SPLITS, Subject

# The split of each clip: its place in `SPLITS`, or OUT.
Splits = NDArray[np.int8]
OUT = -1

FOLD_GROUP = "fold"


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A column of text: `names` without repetition, sorted (Arrow), and `codes` (N,), each one's place in them, -1 for
    none."""

    names: pa.Array
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Coded:
        """The codes of a column."""
        names = pc.unique(column).drop_null()
        names = names.take(pc.sort_indices(names))
        return cls(names=names, codes=pc.index_in(column, value_set=names).fill_null(-1).to_numpy())

    def in_splits(self, split: Splits) -> NDArray[np.int64]:
        """(names, S) clips of each name in each split."""
        inside = (self.codes >= 0) & (split != OUT)
        places = self.codes[inside].astype(np.int64) * len(SPLITS) + split[inside]
        return np.bincount(places, minlength=len(self.names) * len(SPLITS)).reshape(-1, len(SPLITS))

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Coded:
        """Some of the column; `names` stay as they are."""
        return Coded(names=self.names, codes=self.codes[chosen])


@dataclass(frozen=True, kw_only=True)
class Clips:
    """N clips in the order of the catalog.

    Attributes:
        ids: (N,) Arrow text.
        people, datasets, texts, folds, published: what the clips have of each; a fold and a split are those that their
            corpus publishes.
        classes: K names, sorted.
        shown: (N, K) whether a class occurs in a clip, as its label or that of a segment.
    """

    ids: pa.ChunkedArray
    people: Coded
    datasets: Coded
    texts: Coded
    folds: Coded
    published: Coded
    classes: tuple[str, ...]
    shown: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.shown)

    @classmethod
    def of(cls, table: pa.Table) -> Clips:
        """The clips of a catalog, before or after their splits are assigned."""
        segments = table["segments"].combine_chunks()
        of_segments = pc.struct_field(pc.list_flatten(segments), "label")
        names = pc.unique(pa.chunked_array([*table["label"].chunks, of_segments], pa.string())).drop_null()
        names = names.take(pc.sort_indices(names))
        shown_NK = np.zeros((len(table), len(names)), dtype=bool)
        for labels, clips in (
            (table["label"], np.arange(len(table))),
            (of_segments, pc.list_parent_indices(segments).to_numpy()),
        ):
            codes = pc.index_in(labels, value_set=names).fill_null(-1).to_numpy()
            shown_NK[clips[codes >= 0], codes[codes >= 0]] = True
        nothing = pa.chunked_array([pa.nulls(len(table), pa.string())])
        return cls(
            ids=table["clip_id"],
            people=Coded.of(table["subject_id"]),
            datasets=Coded.of(table["dataset"]),
            texts=Coded.of(table["text_id"]),
            folds=Coded.of(pc.map_lookup(table["groups"], FOLD_GROUP, "last")),
            published=Coded.of(table[PUBLISHED] if PUBLISHED in table.column_names else nothing),
            classes=tuple(names.to_pylist()),
            shown=shown_NK,
        )

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]], corpus_splits: Mapping[str, str | None]) -> Clips:
        """The clips of rows; `corpus_splits` maps clip id → the split that its corpus publishes, or None."""
        with_splits = [{**row, PUBLISHED: corpus_splits.get(row["clip_id"])} for row in rows]
        return cls.of(pa.Table.from_pylist(with_splits, schema=UNASSIGNED_SCHEMA))

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Clips:
        """Some of the clips; names and classes stay as they are."""
        return Clips(
            ids=self.ids.filter(pa.array(chosen)),
            people=self.people[chosen],
            datasets=self.datasets[chosen],
            texts=self.texts[chosen],
            folds=self.folds[chosen],
            published=self.published[chosen],
            classes=self.classes,
            shown=self.shown[chosen],
        )

    @property
    def present(self) -> list[str]:
        """The classes that occur."""
        return [name for name, occurs in zip(self.classes, np.any(self.shown, axis=0).tolist(), strict=True) if occurs]

    def in_dataset(self, name: str) -> NDArray[np.bool_]:
        """(N,) whether a clip is one of the dataset's."""
        own: NDArray[np.bool_] = self.datasets.codes == pc.index(self.datasets.names, name).as_py()
        return own

    def subjects(self) -> list[Subject]:
        """Everybody who has one of the clips, sorted by id."""
        datasets, people = self.datasets.names.to_pylist(), len(self.people.names)
        clips_DP = [np.bincount(self.people.codes[self.in_dataset(name)], minlength=people) for name in datasets]
        clips_KP = [np.bincount(self.people.codes[shown_N], minlength=people) for shown_N in self.shown.T]
        return [
            Subject(
                subject_id=name,
                datasets=own,
                clips_per_class={
                    label: int(clips_P[at])
                    for label, clips_P in zip(self.classes, clips_KP, strict=True)
                    if clips_P[at]
                },
            )
            for at, name in enumerate(self.people.names.to_pylist())
            if (own := tuple(dataset for dataset, clips_P in zip(datasets, clips_DP, strict=True) if clips_P[at]))
        ]

    def named(self, split: Splits) -> dict[str, str]:
        """Clip id → split of the clips that are in one: for as few as fit into memory with their features."""
        inside = split != OUT
        ids = self.ids.filter(pa.array(inside)).to_pylist()
        return dict(zip(ids, (SPLITS[place] for place in split[inside]), strict=True))

    def split_by_person(self, split_of: Mapping[str, str]) -> Splits:
        """The split of each clip by that of its person; OUT for people without one."""
        places = {split: place for place, split in enumerate(SPLITS)}
        of_person = [places.get(split_of.get(name, ""), OUT) for name in self.people.names.to_pylist()]
        return np.array(of_person, dtype=np.int8)[self.people.codes]


def splits_of(table: pa.Table) -> Splits:
    """The split of each clip of a catalog."""
    places: Splits = pc.index_in(table["split"], value_set=pa.array(SPLITS)).to_numpy().astype(np.int8)
    return places


def split_summary(clips: Clips, split: Splits, classes: Iterable[str]) -> dict[str, Any]:
    """Per split: clips, subjects, and the clips in which each class occurs."""
    subjects = (clips.people.in_splits(split) > 0).sum(0)
    out = {}
    for place, name in enumerate(SPLITS):
        inside = split == place
        counts = dict(zip(clips.classes, clips.shown[inside].sum(0).tolist(), strict=True))
        out[name] = {
            "clips": int(inside.sum()),
            "subjects": int(subjects[place]),
            "per_class": {label: counts.get(label, 0) for label in classes},
        }
    return out
