"""`mer quarantine list`: everything that any stage set aside, in one list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.contracts.layout import Layout
from pipelines.project import find_root, load

FILE = "quarantine.parquet"


def listing(
    *, dataset: str | None = None, stage: str | None = None, as_json: bool = False, root: Path | None = None
) -> str:
    """The quarantined clips of the datasets in use, optionally of one dataset or stage, as text or as JSON lines."""
    layout = Layout(root or find_root())
    names = load(layout.root).datasets if dataset is None else (dataset,)
    rows = [row for name in names for row in _rows(layout, name) if stage in (None, row["stage"])]
    if as_json:
        return "\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    if not rows:
        return "Nothing was set aside."
    return "\n".join([*map(_block, rows), f"{len(rows)} set aside"])


def _block(row: dict[str, Any]) -> str:
    """A row for a person: which clip, why, and, where the message does not say it, which file and what to do."""
    lines = [f"{row['clip_id']}  [{row['stage']}: {row['code']}]", row["message"]]
    lines += [f"{name} {row[key]}" for name, key in (("file", "path"), ("try", "remedy")) if _untold(row, key)]
    return "\n    ".join(lines)


def _untold(row: dict[str, Any], key: str) -> bool:
    return bool(row[key]) and row[key] not in row["message"]


def _rows(layout: Layout, name: str) -> Iterator[dict[str, Any]]:
    """Each stage's own rows. Validation's table repeats those of the stages before it as they were when it last ran."""
    for folder in (layout.dataset(name), layout.aligned(name), layout.features(name), layout.validated(name)):
        path = folder / FILE
        if path.is_file():
            own = folder == layout.validated(name)
            yield from (row for row in pq.read_table(path).to_pylist() if not own or row["stage"] == "validation")
