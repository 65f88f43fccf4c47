from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.contracts.columns import (
    at_places,
    by_row,
    distinct_beside,
    mapped,
    places_of,
    rows_at,
    sorted_by,
    sorted_pairs,
    values_by_key,
)

MAP = pa.map_(pa.string(), pa.float64())


def parts(*values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array(values, pa.string())


@pytest.mark.parametrize("places", [[0, 1, 2], [0, 2], [], [2, 0], [1, 1]])
def test_rows_are_those_at_the_places_in_their_order(places: list[int]) -> None:
    table = pa.table({"name": parts(["a"], ["b", "c"])})
    assert rows_at(table, np.array(places, dtype=np.int64))["name"].to_pylist() == ["abc"[place] for place in places]


def test_equal_rows_stay_in_their_order() -> None:
    table = pa.table({"name": parts(["b", "a"], ["b"]), "number": [0, 1, 2]})
    assert sorted_by(table, "name")["number"].to_pylist() == [1, 0, 2]
    assert sorted_by(table, "number") is table


def test_a_text_is_mapped_once_and_null_stays_null() -> None:
    calls: list[str] = []

    def upper(text: str) -> str | None:
        calls.append(text)
        return text.upper() if text != "b" else None

    assert mapped(parts(["a", None, "b"], ["a"]), upper).to_pylist() == ["A", None, None, "A"]
    assert calls == ["a", "b"]


def test_places_are_the_last_ones() -> None:
    places = places_of(parts(["c", "x"], ["a"]), parts(["a", "c"], ["c"]))
    assert places.tolist() == [2, -1, 0]
    assert at_places(parts(["p", "q"], ["r"]), places).to_pylist() == ["r", None, "p"]
    assert places_of(parts(["c"]), parts([])).tolist() == [-1]


def test_the_different_values_of_a_group_are_counted_at_each_of_its_rows() -> None:
    groups = parts(["x", "y", None], ["x", "x", None])
    assert distinct_beside(parts(["a", "a", "a"], ["b", "a", None]), groups).tolist() == [2, 1, 2, 2, 2, 2]
    assert distinct_beside(parts([]), parts([])).tolist() == []


def test_the_values_of_each_key_are_named_once() -> None:
    maps = pa.array([[("x", "1"), ("y", "2")], None, [("x", "1"), ("y", "3")]], pa.map_(pa.string(), pa.string()))
    assert values_by_key(pa.chunked_array([maps[:1], maps[1:]])) == {"x": ["1"], "y": ["2", "3"]}


def test_the_pairs_of_each_map_are_sorted_and_a_missing_map_is_empty() -> None:
    maps = pa.array([[("x", 1.0)], [("b", 2.0), ("a", 3.0)], None, [], [("z", 5.0), ("z", 4.0)]], MAP)
    expected = [[("x", 1.0)], [("a", 3.0), ("b", 2.0)], [], [], [("z", 4.0), ("z", 5.0)]]
    assert sorted_pairs(maps).type == MAP
    for first in range(5):
        assert sorted_pairs(maps.slice(first)).to_pylist() == expected[first:]


def test_rows_are_made_of_rows_in_their_order() -> None:
    table = pa.table({"number": range(20_000)})
    doubled = by_row(table, pa.schema({"twice": pa.int64()}), lambda row: {"twice": 2 * row["number"]})
    assert doubled["twice"].to_pylist() == list(range(0, 40_000, 2))
    assert by_row(table[:0], doubled.schema, dict).equals(doubled[:0])
