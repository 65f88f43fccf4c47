"""Tables of as many rows as there are clips, as columns: no Python object per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Rows that may be Python objects at a time.
ROWS_AT_ONCE = 8_192

Row = Mapping[str, Any]


def rows_at(table: pa.Table, places: NDArray[np.integer]) -> pa.Table:
    """The rows at some places. Where these ascend no column is put together first, which Arrow cannot do with more than
    2 GB of text."""
    if not (places[1:] > places[:-1]).all():
        return table.take(pa.array(places))
    chosen = np.zeros(len(table), dtype=bool)
    chosen[places] = True
    return table if chosen.all() else table.filter(pa.array(chosen))


def sorted_by(table: pa.Table, column: str) -> pa.Table:
    """The rows by one column, equal ones in their order."""
    return rows_at(table, pc.sort_indices(table[column]).to_numpy())


def places_of(values: pa.ChunkedArray, within: pa.ChunkedArray) -> NDArray[np.int32]:
    """The first place in `within` of each value, -1 for one that is not there."""
    places: NDArray[np.int32] = pc.index_in(values, value_set=within.combine_chunks()).fill_null(-1).to_numpy()
    return places


def mapped(texts: pa.Array | pa.ChunkedArray, function: Callable[[str], str | None]) -> pa.Array | pa.ChunkedArray:
    """A text for each text, made once for equal ones; null for null."""
    names = pc.unique(texts).drop_null()
    return pa.array(map(function, names.to_pylist()), pa.string()).take(pc.index_in(texts, value_set=names))


def pairs(maps: pa.MapArray | pa.ChunkedArray) -> pa.ListArray | pa.ChunkedArray:
    """Maps as lists of structs of `key` and `value`."""
    kind = maps.type
    fields = [pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)]
    return maps.cast(pa.list_(pa.struct(fields)))


def sorted_pairs(maps: pa.MapArray) -> pa.MapArray:
    """The pairs of each map, sorted; none where there is no map."""
    lists = pairs(maps)
    key, value = pc.list_flatten(lists).flatten()
    flat = pa.table({"row": pc.list_parent_indices(lists), "key": key, "value": value})
    flat = flat.sort_by([(name, "ascending") for name in flat.column_names])
    key, value = (flat[name].combine_chunks() for name in ("key", "value"))
    return pa.MapArray.from_arrays(offsets(lengths(lists)), key, value, maps.type)


def lengths(lists: pa.Array) -> NDArray[np.int64]:
    """The lengths of lists, 0 for null."""
    return pc.list_value_length(lists).fill_null(0).to_numpy()


def offsets(sizes: NDArray[np.int64]) -> pa.Array:
    """Where lists of some lengths begin among the values of all, and where the last one ends."""
    return pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())


def by_row(table: pa.Table, schema: pa.Schema, make: Callable[[Row], Row | None]) -> pa.Table:
    """A table of the rows that a function makes of those of another one, a few thousand at a time; None makes none."""
    made = (
        [new for row in batch.to_pylist() if (new := make(row)) is not None]
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE)
    )
    batches = [pa.RecordBatch.from_pylist(rows, schema=schema) for rows in made]
    return pa.Table.from_batches(batches, schema=schema)
