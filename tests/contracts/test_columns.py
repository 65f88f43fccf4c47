from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.contracts.columns import by_row, mapped, places_of, rows_at, sorted_by, sorted_pairs

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


def test_places_are_the_first_ones() -> None:
    assert places_of(parts(["c", "x"], ["a"]), parts(["a", "c"], ["c"])).tolist() == [1, -1, 0]


def test_the_pairs_of_each_map_are_sorted_and_a_missing_map_is_empty() -> None:
    maps = pa.array([[("x", 1.0)], [("b", 2.0), ("a", 3.0)], None, [], [("z", 5.0), ("z", 4.0)]], MAP)
    expected = [[("x", 1.0)], [("a", 3.0), ("b", 2.0)], [], [], [("z", 4.0), ("z", 5.0)]]
    assert sorted_pairs(maps).type == MAP
    for first in range(5):
        assert sorted_pairs(maps.slice(first)).to_pylist() == expected[first:]


def test_rows_are_made_of_rows_and_some_of_none() -> None:
    table = pa.table({"number": range(20_000)})
    even = by_row(
        table, pa.schema({"half": pa.int64()}), lambda row: None if row["number"] % 2 else {"half": row["number"] // 2}
    )
    assert even["half"].to_pylist() == list(range(10_000))
    assert by_row(table[:0], even.schema, dict).equals(even[:0])
