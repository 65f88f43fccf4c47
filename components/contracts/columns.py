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
    """The last place in `within` of each value, -1 for one that is not there."""
    backwards = within.take(pa.array(np.arange(len(within))[::-1])).combine_chunks()
    places: NDArray[np.int32] = pc.index_in(values, value_set=backwards).fill_null(len(within)).to_numpy()
    return len(within) - 1 - places


def at_places(column: pa.ChunkedArray, places: NDArray[np.int32]) -> pa.ChunkedArray:
    """The values at some places, null at -1."""
    return column.take(pa.array(places, mask=places < 0))


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


def distinct_beside(values: pa.ChunkedArray, groups: pa.ChunkedArray) -> NDArray[np.int64]:
    """For each row, how many different values the rows of its group have; null is a value, and a group."""
    names, group_names = pc.unique(values), pc.unique(groups)
    value = pc.index_in(values, value_set=names).to_numpy()
    group = pc.index_in(groups, value_set=group_names).to_numpy()
    once = np.unique(group.astype(np.int64) * len(names) + value)
    return np.bincount(once // max(len(names), 1), minlength=len(group_names))[group]


def values_by_key(maps: pa.ChunkedArray) -> dict[str, list[str]]:
    """Key → its values in all maps of texts, each once."""
    both = pc.list_flatten(pairs(maps))
    keys, values = (pc.struct_field(both, name) for name in ("key", "value"))
    names = pc.unique(keys).to_pylist()
    return {name: pc.unique(values.filter(pc.equal(keys, name))).to_pylist() for name in names}


def by_row(table: pa.Table, schema: pa.Schema, make: Callable[[Row], Row]) -> pa.Table:
    """A table of the rows that a function makes of those of another one, a few thousand at a time."""
    batches = table.to_batches(max_chunksize=ROWS_AT_ONCE)
    made = [pa.RecordBatch.from_pylist(list(map(make, batch.to_pylist())), schema=schema) for batch in batches]
    return pa.Table.from_batches(made, schema=schema)
