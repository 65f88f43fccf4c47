"""The corpora of a version and their terms: the licence and consent on the clips that the catalog lists.

The catalog itself holds neither, so that correcting a sentence about consent does not retrain a model. Both are read
from the clip tables; id and content hash identify the rows that the catalog was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from components.contracts.atomic import read_json
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
    def of(cls, rows: Sequence[Row]) -> Count:
        """The count of rows of the catalog."""
        return cls(clips=len(rows), people=len({row["subject_id"] for row in rows}))


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
    listed = pq.read_table(layout.catalog / "catalog.parquet", columns=columns).to_pylist()
    return [
        corpus(
            name,
            [row for row in listed if row["dataset"] == name],
            _clip_rows(layout, name),
            adapter=_adapter(layout, name),
        )
        for name in sorted(names)
    ]


def corpus(name: str, listed: Sequence[Row], clips: Iterable[Row], *, adapter: str | None = None) -> Corpus:
    """One corpus.

    Args:
        listed: its rows of the catalog.
        clips: rows of its clip table, with at least `clip_id`, `content_sha256`, `licence` and `consent`.
        adapter: that lists it; of the corpus's own name by default.

    Raises:
        DataError: the clip table lacks a clip of the catalog, or has it with different content.
    """
    clip_of = {clip["clip_id"]: clip for clip in clips}
    by_terms: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in listed:
        clip = clip_of.get(row["clip_id"])
        if clip is None or clip["content_sha256"] != row["content_sha256"]:
            raise _not_the_table(name, row["clip_id"], "no such clip" if clip is None else "different content")
        by_terms[clip["licence"].strip(), clip["consent"].strip()].append(row)
    ordered = sorted(by_terms.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    kind = adapter or name
    return Corpus(
        name=name,
        source=source_of(kind),
        rendered=kind in ADAPTERS and ADAPTERS[kind].about.access == "rendered",
        total=Count.of(listed),
        terms=tuple(_terms(licence, consent, rows) for (licence, consent), rows in ordered),
    )


def source_of(adapter: str) -> str:
    """The title of an adapter's corpus, and where to obtain it."""
    if adapter not in ADAPTERS:
        return UNKNOWN
    about = ADAPTERS[adapter].about
    return f"{about.title}, {about.homepage or about.paper or ACCESS[about.access]}"


def _terms(licence: str, consent: str, rows: Sequence[Row]) -> Terms:
    by_split: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_split[row["split"]].append(row)
    return Terms(
        licence=licence,
        consent=consent,
        total=Count.of(rows),
        splits={split: Count.of(inside) for split, inside in by_split.items()},
    )


def _clip_rows(layout: Layout, name: str) -> list[dict[str, Any]]:
    path = layout.dataset(name) / "clips.parquet"
    if not path.is_file():
        raise _not_the_table(name, str(path), "no such file")
    return pq.read_table(path, columns=["clip_id", "content_sha256", "licence", "consent"]).to_pylist()


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
