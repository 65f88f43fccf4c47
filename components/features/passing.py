"""The tables that pass from one actor of the features stage to the next: results, and waiting clips.

Both are columns of one schema, as a Ray Data stream has only one: `result` holds the outcome of a modality of a clip,
`waiting` an aligned clip with the modality → key that the next pool has to encode. In each row one of them is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.contracts.codes import Code
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip
from components.features.base import Encoded
from components.features.encode import EncodingResult

TEXTS = ("clip_id", "modality", "key", "code", "message")
# Features as bytes with their width, because one table holds several widths; null where encoding failed.
RESULT = pa.struct(
    [
        *((name, pa.string()) for name in TEXTS),
        ("width", pa.int64()),
        ("values", pa.large_binary()),
        ("valid", pa.large_binary()),
    ]
)
WAITING = pa.struct([("clip", pa.struct(list(ALIGNED_SCHEMA))), ("keys", pa.map_(pa.string(), pa.string()))])
SCHEMA = pa.schema([("result", RESULT), ("waiting", WAITING)])


def result_rows(results: Sequence[EncodingResult]) -> pa.Table:
    """A row for each result."""
    return pa.Table.from_pylist([{"result": _to_row(result), "waiting": None} for result in results], schema=SCHEMA)


def waiting_row(clip: AlignedClip, keys: Mapping[str, str]) -> pa.Table:
    """One row: a clip, and modality → key of what is to be encoded of it."""
    waiting = {"clip": clip.to_row(), "keys": sorted(keys.items())}
    return pa.Table.from_pylist([{"result": None, "waiting": waiting}], schema=SCHEMA)


def waiting_in(table: pa.Table) -> list[tuple[AlignedClip, dict[str, str]]]:
    """The clips that wait, with what is to be encoded of them."""
    waiting = table["waiting"].drop_null().to_pylist()
    return [(AlignedClip.from_row(row["clip"]), dict(row["keys"])) for row in waiting]


def only_results(table: pa.Table) -> pa.Table:
    """The rows that are results."""
    return table.filter(pc.is_valid(table["result"]))


def results_in(table: pa.Table) -> Iterator[EncodingResult]:
    """The results of a table."""
    for row in table["result"].drop_null().to_pylist():
        yield _from_row(row)


def _to_row(result: EncodingResult) -> dict[str, Any]:
    row = {name: getattr(result, name) for name in TEXTS}
    if result.encoded is None:
        return row
    values, valid = result.encoded.values.astype("<f4"), result.encoded.valid
    return {**row, "width": values.shape[1], "values": values.tobytes(), "valid": valid.tobytes()}


def _from_row(row: Mapping[str, Any]) -> EncodingResult:
    texts = {name: row[name] for name in TEXTS}
    if row["code"] is not None:
        return EncodingResult(**{**texts, "code": Code(row["code"])})
    values = np.frombuffer(row["values"], dtype="<f4").reshape(-1, row["width"])
    return EncodingResult(**texts, encoded=Encoded(values, np.frombuffer(row["valid"], dtype=bool)))
