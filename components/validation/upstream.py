"""What the three stages before wrote about one dataset, read and checked for being there at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.atomic import read_json
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.records import QUARANTINE_SCHEMA, Quarantined


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """One dataset as it comes in: its tables, what is in quarantine already, and the encoders by modality."""

    dataset: str
    clips: pa.Table
    quality: pa.Table
    index: pa.Table
    quarantined: tuple[Quarantined, ...]
    encoders: Mapping[str, Mapping[str, Any]]


def read_upstream(layout: Layout, name: str) -> Upstream:
    """Reads the tables of a dataset. Raises DataError naming the stage to run when a file is missing or unreadable."""
    stages = {
        "datasets": layout.dataset(name),
        "alignment": layout.aligned(name),
        "features": layout.features(name),
    }
    summary = stages["features"] / "summary.json"
    if not summary.is_file():
        raise _missing("features", name, summary)
    return Upstream(
        dataset=name,
        clips=_table("datasets", name, stages["datasets"] / "clips.parquet"),
        quality=_flat(_table("alignment", name, stages["alignment"] / "quality.parquet")),
        index=_table("features", name, stages["features"] / "index.parquet"),
        quarantined=tuple(row for folder in stages.values() for row in quarantined_of(folder / "quarantine.parquet")),
        encoders=read_json(summary)["encoders"],
    )


def quarantined_of(path: Path) -> list[Quarantined]:
    """The rows of a quarantine table; none when there is no such file."""
    if not path.is_file():
        return []
    return [Quarantined(**row) for row in pq.read_table(path, schema=QUARANTINE_SCHEMA).to_pylist()]


def _table(stage: str, name: str, path: Path) -> pa.Table:
    if not path.is_file():
        raise _missing(stage, name, path)
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(
            "this is no Parquet file", where=str(path), seen=str(error), remedy=f"Run the stage `{stage}` for {name}"
        ) from error


def _missing(stage: str, name: str, path: Path) -> DataError:
    return DataError(
        f"the stage `{stage}` has not run for this dataset",
        where=name,
        seen=f"no file {path}",
        remedy="Run it first, or everything with `mer run`",
    )


def _flat(table: pa.Table) -> pa.Table:
    """Brings the fields of a `quality` struct up to columns of their own."""
    if "quality" not in table.column_names or not pa.types.is_struct(table.schema.field("quality").type):
        return table
    position = table.column_names.index("quality")
    inner = table.column("quality").combine_chunks()
    table = table.remove_column(position)
    for field, values in zip(inner.type, inner.flatten(), strict=True):
        table = table.append_column(field.name, values)
    return table
