"""Clips that could not be aligned, remembered, so that an unchanged broken file is not decoded on every run.

A refusal holds as long as the clip's content, the alignment's settings and limits, and the number of retries that a
person requested are the same. Refusals of the quality gate are remembered with their figures and judged anew: a
different bound, or a person's acceptance, readmits the clip. Failures whose cause may have passed are not remembered:
a missing or unreadable file, and an error of the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.outcome import ClipOutcome, as_text, quality_of, quarantined_of
from components.contracts.codes import Code
from components.contracts.config import Alignment
from components.contracts.fingerprint import fingerprint
from components.contracts.readmitted import Decisions
from components.contracts.records import Clip

FILE = "refused.parquet"
ALWAYS_TRIED = frozenset({Code.INTERNAL, Code.MISSING_FILE, Code.UNREADABLE})
REFUSED_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("asked", pa.string(), nullable=False),
        pa.field("quarantined", pa.string(), nullable=False),
        pa.field("quality", pa.string()),
    ]
)


class Refusals:
    """The refusals of the previous run that hold for this run's request.

    Args:
        folder: of the stage's output.
        config: the section `alignment`.
        decisions: people's decisions on the clips that this stage set aside.
    """

    def __init__(self, folder: Path, config: Alignment, decisions: Decisions) -> None:
        limits = config.limits.model_dump(mode="json")
        self._asked = fingerprint([alignment_fingerprint(config), limits])
        self._tries = decisions.tries
        self._stored = _read(folder / FILE)

    def recall(self, clip: Clip) -> ClipOutcome | None:
        """The earlier outcome of a clip; None where it is to be tried (again)."""
        row = self._stored.get(clip.clip_id)
        if row is None or (row["content_sha256"], row["asked"]) != (clip.content_sha256, self.asking(clip.clip_id)):
            return None
        refusal = quarantined_of(row["quarantined"])
        if refusal is None or refusal.path != clip.main_path:
            return None  # the file has moved: the row must contain its present path
        return ClipOutcome(
            clip_id=clip.clip_id,
            content_sha256=clip.content_sha256,
            quality=quality_of(row["quality"]),
            quarantined=refusal,
        )

    def table(self, results: Iterable[ClipOutcome]) -> pa.Table:
        """The refusals among results, for the next run; REFUSED_SCHEMA."""
        rows = [
            {
                "clip_id": result.clip_id,
                "content_sha256": result.content_sha256,
                "asked": self.asking(result.clip_id),
                "quarantined": as_text(result.quarantined),
                "quality": as_text(result.quality),
            }
            for result in results
            if result.quarantined is not None and result.quarantined.code not in ALWAYS_TRIED
        ]
        return pa.Table.from_pylist(rows, schema=REFUSED_SCHEMA)

    def asking(self, clip_id: str) -> str:
        """Identity of the request for a clip: a result holds for an equal clip under an equal request."""
        return f"{self._asked}:{self._tries.get(clip_id, 0)}"


def _read(path: Path) -> Mapping[str, Mapping[str, Any]]:
    if not path.is_file():
        return {}
    return {row["clip_id"]: row for row in pq.read_table(path, schema=REFUSED_SCHEMA).to_pylist()}
