"""The tables that pass from one actor of the features stage to the next: receipts, and waiting clips.

Both are columns of one schema, as a Ray Data stream has only one: `result` holds the receipt of a modality of a clip
(`pieces.py`), `waiting` an aligned clip with the modality → key that the next pool has to encode. In each row one of
them is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from components.contracts.codes import Code
from components.contracts.records import ALIGNED_SCHEMA, AlignedClip
from components.features.encode import EncodingResult

TEXTS = ("clip_id", "modality", "key", "code", "message")
RESULT = pa.struct([(name, pa.string()) for name in TEXTS])
WAITING = pa.struct([("clip", pa.struct(list(ALIGNED_SCHEMA))), ("keys", pa.map_(pa.string(), pa.string()))])
SCHEMA = pa.schema([("result", RESULT), ("waiting", WAITING)])


def result_rows(receipts: Sequence[EncodingResult]) -> pa.Table:
    """A row for each receipt."""
    rows = [{"result": {name: getattr(receipt, name) for name in TEXTS}, "waiting": None} for receipt in receipts]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def waiting_row(clip: AlignedClip, keys: Mapping[str, str]) -> pa.Table:
    """One row: a clip, and modality → key of what is to be encoded of it."""
    waiting = {"clip": clip.to_row(), "keys": sorted(keys.items())}
    return pa.Table.from_pylist([{"result": None, "waiting": waiting}], schema=SCHEMA)


def waiting_in(table: pa.Table) -> list[tuple[AlignedClip, dict[str, str]]]:
    """The clips that wait, with what is to be encoded of them."""
    waiting = table["waiting"].drop_null().to_pylist()
    return [(AlignedClip.from_row(row["clip"]), dict(row["keys"])) for row in waiting]


def only_results(table: pa.Table) -> pa.Table:
    """The rows that are receipts."""
    return table.filter(pc.is_valid(table["result"]))


def results_in(table: pa.Table) -> Iterator[EncodingResult]:
    """The receipts of a table."""
    for row in table["result"].drop_null().to_pylist():
        yield EncodingResult(**{**row, "code": None if row["code"] is None else Code(row["code"])})
