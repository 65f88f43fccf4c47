"""From failures to quarantine rows, and the one table that says why each clip of a dataset was set aside."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.contracts.records import QUARANTINE_SCHEMA, Quarantined
from components.validation.checkpoint import Outcome

STAGE = "validation"


def quarantined_rows(dataset: str, outcomes: Iterable[Outcome]) -> list[Quarantined]:
    """One row a clip and broken `row` expectation, with what was seen, what is allowed and what to do."""
    rows = []
    for outcome in outcomes:
        for judged in outcome.failed:
            expectation = judged.expectation
            if expectation.level != "row":
                continue
            for clip_id, seen in judged.failures:
                rows.append(
                    Quarantined(
                        dataset=dataset,
                        clip_id=clip_id,
                        stage=STAGE,
                        code=expectation.name,
                        message=f"{clip_id}: broken expectation: {expectation.says} (seen: {seen})",
                        field=expectation.field,
                        seen=seen,
                        allowed=expectation.allowed,
                        remedy=expectation.remedy,
                    )
                )
    return rows


def read_quarantine(layout: Layout, name: str) -> pa.Table:
    """Everything of a dataset that was set aside, by any stage up to validation, as QUARANTINE_SCHEMA.

    Raises:
        DataError: the dataset has not been validated.
    """
    path = layout.validated(name) / "quarantine.parquet"
    if not path.is_file():
        raise DataError(
            "this dataset has not been validated", where=name, seen=f"no file {path}", remedy="Run `mer run` first"
        )
    return pq.read_table(path, schema=QUARANTINE_SCHEMA)
