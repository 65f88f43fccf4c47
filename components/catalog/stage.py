"""The catalog stage: accepted clips of every dataset in, the exact list for training out."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from components.catalog.catalog import Validated, build
from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.validation.accepted import ACCEPTED_SCHEMA


def run(params: Params, layout: Layout) -> dict[str, Any]:
    """Writes `catalog.parquet` and `catalog.json` and returns the latter.

    Raises:
        DataError: a dataset was not validated, or see `build`.
    """
    datasets = [_validated(layout, name) for name in sorted(params.datasets)]
    table, description = build(datasets, params.labels.resolved, params.catalog, params.seed)
    write_table(layout.catalog / "catalog.parquet", table)
    write_json(layout.catalog / "catalog.json", description)
    return description


def _validated(layout: Layout, name: str) -> Validated:
    folder = layout.validated(name)
    path = folder / "accepted.parquet"
    if not path.is_file() or not (folder / "result.json").is_file():
        raise DataError(
            "this dataset has no accepted clips",
            where=name,
            seen=f"no file {path}",
            remedy="Its validation has not run, or a critical expectation failed: `mer run` says which",
        )
    return Validated(
        dataset=name,
        accepted=pq.read_table(path, schema=ACCEPTED_SCHEMA),
        result=read_json(folder / "result.json"),
    )
