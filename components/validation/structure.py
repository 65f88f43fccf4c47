"""Checks that all columns exist with their types, which are compared as plain words: an `int32` passes as an
`int64`."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from components.contracts.records import CLIP_SCHEMA
from components.validation.upstream import Upstream

_TEXT_MAP = pa.map_(pa.string(), pa.string())
_NUMBER_MAP = pa.map_(pa.string(), pa.float64())

REQUIRED: Mapping[str, pa.Schema] = {
    "clips": CLIP_SCHEMA,
    "alignment": pa.schema(
        {
            "clip_id": pa.string(),
            "content_sha256": pa.string(),
            "passed": pa.bool_(),
            "duration_s": pa.float64(),
            "offset_s": pa.float64(),
            "drift_s_per_min": pa.float64(),
            "speech_fraction": pa.float64(),
            "coverage": _NUMBER_MAP,
        }
    ),
    "features": pa.schema(
        {
            "clip_id": pa.string(),
            "content_sha256": pa.string(),
            "num_steps": pa.int64(),
            "rate_hz": pa.float64(),
            "duration_s": pa.float64(),
            "keys": _TEXT_MAP,
            "coverage": _NUMBER_MAP,
        }
    ),
}


def structure_table(upstream: Upstream) -> pa.Table:
    """One row per required column: `column` (table.column), `seen` and `wanted` type in words."""
    tables = {"clips": upstream.clips, "alignment": upstream.quality, "features": upstream.index}
    rows = []
    for name, schema in REQUIRED.items():
        present = tables[name].schema
        for field in schema:
            seen = plain(present.field(field.name).type) if field.name in present.names else "missing"
            rows.append({"column": f"{name}.{field.name}", "seen": seen, "wanted": plain(field.type)})
    return pa.Table.from_pylist(rows)


def plain(kind: pa.DataType) -> str:
    """An Arrow type in words that do not depend on its width or on how it is stored."""
    if pa.types.is_map(kind):
        return f"map<{plain(kind.key_type)}, {plain(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{plain(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name}: {plain(field.type)}" for field in kind) + ">"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else str(kind)
