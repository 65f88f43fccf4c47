"""Reads the tables that the three earlier stages wrote about one dataset, and checks that they exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.atomic import read_json
from components.contracts.config import MODALITIES
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.records import QUARANTINE_SCHEMA, Quarantined


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The tables and summaries of one dataset.

    Attributes:
        clips: the clip table.
        quality: the alignment quality of every clip that could be measured; `passed` is False for those that the
            alignment stage set aside.
        index: the feature index.
        quarantined: the clips, or single modalities of clips, that the three stages set aside.
        alignment_fingerprint: of the aligned clips.
        aligned_by: the alignment fingerprints that the feature index was made from.
        encoders: modality → spec, fingerprint, width.
    """

    dataset: str
    clips: pa.Table
    quality: pa.Table
    index: pa.Table
    quarantined: tuple[Quarantined, ...]
    alignment_fingerprint: str
    aligned_by: tuple[str, ...]
    encoders: Mapping[str, Mapping[str, Any]]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Every modality that a table may contain: those of `MODALITIES`, then the given features of the clips."""
        return (*MODALITIES, *sorted(set(self.encoders) - set(MODALITIES)))


def read_upstream(layout: Layout, name: str) -> Upstream:
    """Reads the tables of a dataset. Raises DataError naming the stage to run when a file is missing or unreadable."""
    stages = {
        "datasets": layout.dataset(name),
        "alignment": layout.aligned(name),
        "features": layout.features(name),
    }
    aligned, encoded = (_summary(stage, name, stages[stage]) for stage in ("alignment", "features"))
    return Upstream(
        dataset=name,
        clips=_table("datasets", name, stages["datasets"] / "clips.parquet"),
        quality=_table("alignment", name, stages["alignment"] / "quality.parquet"),
        index=_table("features", name, stages["features"] / "index.parquet"),
        quarantined=tuple(row for folder in stages.values() for row in quarantined_of(folder / "quarantine.parquet")),
        alignment_fingerprint=aligned["alignment_fingerprint"],
        aligned_by=tuple(encoded["alignment_fingerprints"]),
        encoders=encoded["encoders"],
    )


def quarantined_of(path: Path) -> list[Quarantined]:
    """The rows of a quarantine table; none when there is no such file."""
    if not path.is_file():
        return []
    return [Quarantined.from_row(row) for row in pq.read_table(path, schema=QUARANTINE_SCHEMA).to_pylist()]


def _summary(stage: str, name: str, folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    if not path.is_file():
        raise _missing(stage, name, path)
    return dict(read_json(path))


def _table(stage: str, name: str, path: Path) -> pa.Table:
    if not path.is_file():
        raise _missing(stage, name, path)
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(
            "this is not a Parquet file", where=str(path), seen=str(error), remedy=f"Run the stage `{stage}` for {name}"
        ) from error


def _missing(stage: str, name: str, path: Path) -> DataError:
    return DataError(
        f"the stage `{stage}` has not run for this dataset",
        where=name,
        seen=f"no file {path}",
        remedy="Run it first, or everything with `mer run`",
    )
