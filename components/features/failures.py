"""Clips that an encoder could not encode, remembered by feature key, so that they are not tried on every run.

A failure holds as long as the clip's content, its alignment and the encoder are the same (they make the key), and no
person asked for another try. Unforeseen errors are not remembered, since their cause may have passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.codes import Code, current
from components.contracts.readmitted import Decisions
from components.features.encode import EncodingResult

FILE = "failed.parquet"
FAILED_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("tries", pa.int32(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)


class Failures:
    """The failures of the run before, less those that a person asked to try again; the stage adds its own.

    Attributes:
        by_key: what became of a key that cannot be encoded.

    Args:
        folder: where the stage writes.
        decisions: what people decided about the clips that this stage set aside.
    """

    def __init__(self, folder: Path, decisions: Decisions) -> None:
        self._tries = decisions.tries
        rows = _read(folder / FILE)
        again = {row["key"] for row in rows if row["tries"] != self._tries.get(row["clip_id"], 0)}
        self.by_key: dict[str, EncodingResult] = {
            row["key"]: EncodingResult(
                clip_id=row["clip_id"],
                modality=row["modality"],
                key=row["key"],
                code=Code(current(row["code"])),
                message=row["message"],
            )
            for row in rows
            if row["key"] not in again
        }

    def table(self, failed: Iterable[tuple[str, EncodingResult]]) -> pa.Table:
        """(clip id, its failure) of the clips that are there, for the next one; FAILED_SCHEMA."""
        rows = [
            {
                "clip_id": clip_id,
                "modality": result.modality,
                "key": result.key,
                "tries": self._tries.get(clip_id, 0),
                "code": result.code,
                "message": result.message,
            }
            for clip_id, result in failed
            if result.code != Code.INTERNAL
        ]
        return pa.Table.from_pylist(rows, schema=FAILED_SCHEMA)


def _read(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path, schema=FAILED_SCHEMA).to_pylist() if path.is_file() else []
