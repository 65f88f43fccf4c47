"""The corpora of a version and their terms: the licence and consent on the clips that the catalog lists.

The catalog itself holds neither, so that correcting a sentence about consent does not retrain a model. Both are read
from the clip tables; id and content hash identify the rows that the catalog was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.contracts.atomic import read_json
from components.contracts.columns import mapped
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.lineage import RECORDED, RENDERED
from components.datasets.about import ACCESS
from components.datasets.registry import ADAPTERS

UNKNOWN = "unknown"
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Count:
    """A number of clips and of people."""

    clips: int
    people: int

    @classmethod
    def of(cls, row: Row) -> Count:
        """Of a row of `_counted`."""
        return cls(clips=row["subject_id_count"], people=row["subject_id_count_distinct"])


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The clips of a corpus that share one licence and one consent, both as recorded on the clips; empty where
    not stated. `splits` maps split → count."""

    licence: str
    consent: str
    total: Count
    splits: Mapping[str, Count]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus in the data of a version.

    Attributes:
        source: its title, and where to obtain it.
        rendered: whether it was synthesised, without real people.
        total: the clips of all splits.
        terms: one per distinct pair of licence and consent, most clips first.
    """

    name: str
    source: str
    rendered: bool
    total: Count
    terms: tuple[Terms, ...]

    @property
    def kind(self) -> str:
        """`recorded` or `rendered`."""
        return RENDERED if self.rendered else RECORDED


def read_corpora(layout: Layout, names: Iterable[str]) -> list[Corpus]:
    """The corpora of the catalog in `layout`, in order of name.

    Raises:
        DataError: a clip table is missing, or is not the one that the catalog was made from.
    """
    columns = ["clip_id", "dataset", "content_sha256", "subject_id", "split"]
    listed = pq.read_table(layout.catalog / "catalog.parquet", columns=columns)
    return [
        corpus(
            name,
            listed.filter(pc.equal(listed["dataset"], name)),
            _clip_table(layout, name),
            adapter=_adapter(layout, name),
        )
        for name in sorted(names)
    ]


def corpus(name: str, listed: pa.Table, clips: pa.Table, *, adapter: str | None = None) -> Corpus:
    """One corpus.

    Args:
        listed: its rows of the catalog.
        clips: its clip table, with at least `clip_id`, `content_sha256`, `licence` and `consent`.
        adapter: that lists it; of the corpus's own name by default.

    Raises:
        DataError: the clip table lacks a clip of the catalog, or has it with different content.
    """
    clips = clips.take(_places(name, listed, clips))
    table = listed.select(["subject_id", "split"])
    for column in ("licence", "consent"):
        table = table.append_column(column, mapped(clips[column], str.strip))
    by_terms: dict[tuple[str, str], dict[str, Count]] = defaultdict(dict)
    for row in _counted(table, "licence", "consent", "split"):
        by_terms[row["licence"], row["consent"]][row["split"]] = Count.of(row)
    terms = [
        Terms(
            licence=row["licence"],
            consent=row["consent"],
            total=Count.of(row),
            splits=by_terms[row["licence"], row["consent"]],
        )
        for row in _counted(table, "licence", "consent")
    ]
    kind = adapter or name
    return Corpus(
        name=name,
        source=source_of(kind),
        rendered=kind in ADAPTERS and ADAPTERS[kind].about.access == "rendered",
        total=Count(clips=len(table), people=pc.count_distinct(table["subject_id"]).as_py()),
        terms=tuple(sorted(terms, key=lambda own: (-own.total.clips, own.licence, own.consent))),
    )


def _places(name: str, listed: pa.Table, clips: pa.Table) -> pa.Array:
    """Where the clips of the catalog are in the clip table."""
    places = pc.index_in(listed["clip_id"], value_set=clips["clip_id"].combine_chunks())
    same = pc.equal(clips["content_sha256"].take(places), listed["content_sha256"])
    wrong = pc.index(same.fill_null(False), False).as_py()
    if wrong >= 0:
        seen = "different content" if places[wrong].is_valid else "no such clip"
        raise _not_the_table(name, listed["clip_id"][wrong].as_py(), seen)
    return places


def _counted(table: pa.Table, *names: str) -> list[Row]:
    """The clips and people with each combination of values, in the order of the first of each."""
    counts = table.group_by(list(names), use_threads=False).aggregate(
        [("subject_id", "count"), ("subject_id", "count_distinct")]
    )
    rows: list[Row] = counts.to_pylist()
    return rows


def source_of(adapter: str) -> str:
    """The title of an adapter's corpus, and where to obtain it."""
    if adapter not in ADAPTERS:
        return UNKNOWN
    about = ADAPTERS[adapter].about
    return f"{about.title}, {about.homepage or about.paper or ACCESS[about.access]}"


def _clip_table(layout: Layout, name: str) -> pa.Table:
    path = layout.dataset(name) / "clips.parquet"
    if not path.is_file():
        raise _not_the_table(name, str(path), "no such file")
    return pq.read_table(path, columns=["clip_id", "content_sha256", "licence", "consent"])


def _adapter(layout: Layout, name: str) -> str:
    """According to the summary of the stage `datasets`, which names an adapter that has a different name."""
    path = layout.dataset(name) / "summary.json"
    return str(read_json(path).get("adapter", name)) if path.is_file() else name


def _not_the_table(name: str, where: str, seen: str) -> DataError:
    return DataError(
        f"the clip table of {name} is not the one that the catalog was made from",
        where=where,
        seen=seen,
        remedy="Run the whole pipeline again: `mer run`.",
    )
