from __future__ import annotations

import pyarrow as pa
import pytest

from components.validation.structure import plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int32(), pa.int64()),
        (pa.string(), pa.large_string()),
        (pa.float32(), pa.float64()),
        (pa.list_(pa.struct([("a", pa.int8())])), pa.large_list(pa.struct([("a", pa.int64())]))),
        (pa.map_(pa.string(), pa.float64()), pa.map_(pa.large_string(), pa.float32())),
    ],
)
def test_types_that_hold_the_same_are_called_the_same(one: pa.DataType, other: pa.DataType) -> None:
    assert plain(one) == plain(other)


def test_types_that_hold_something_else_are_called_otherwise() -> None:
    kinds = [
        pa.int64(),
        pa.float64(),
        pa.string(),
        pa.bool_(),
        pa.list_(pa.string()),
        pa.map_(pa.string(), pa.string()),
    ]
    kinds += [pa.struct([("a", pa.string())]), pa.struct([("b", pa.string())])]
    assert len({plain(kind) for kind in kinds}) == len(kinds)
