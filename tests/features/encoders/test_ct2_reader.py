from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.features.encoders.ct2_reader import read_ct2


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name: str, kind: int, values: np.ndarray) -> bytes:
    sizes = b"".join(struct.pack("<I", size) for size in values.shape)
    return (
        text(name) + struct.pack("<B", values.ndim) + sizes + struct.pack("<BI", kind, values.nbytes) + values.tobytes()
    )


def model(*variables: bytes, version: int = 6, aliases: tuple[tuple[str, str], ...] = ()) -> bytes:
    head = struct.pack("<I", version) + text("TinySpec") + struct.pack("<II", 3, len(variables))
    tail = struct.pack("<I", len(aliases)) + b"".join(text(alias) + text(name) for alias, name in aliases)
    return head + b"".join(variables) + tail


MATRIX = np.arange(6, dtype=np.float16).reshape(2, 3)


def test_reads_types_shapes_scalars_and_aliases(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(
        model(
            variable("a/weight", 4, MATRIX),
            variable("heads", 2, np.array(6, dtype=np.int16)),
            variable("b/bias", 0, np.array([1.5, -2.0], dtype=np.float32)),
            aliases=(("tied", "a/weight"),),
        )
    )
    found = read_ct2(path)
    assert (found.specification, found.revision) == ("TinySpec", 3)
    assert set(found.variables) == {"a/weight", "heads", "b/bias", "tied"}
    np.testing.assert_array_equal(found.variables["tied"], MATRIX)
    assert found.variables["a/weight"].dtype == np.float16
    assert int(found.variables["heads"]) == 6
    assert found.variables["b/bias"].tolist() == [1.5, -2.0]


def test_only_wanted_variables_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(model(variable("a", 4, MATRIX), variable("b", 0, np.ones(4, np.float32))))
    assert set(read_ct2(path, lambda name: name == "b").variables) == {"b"}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (model(version=5), "unknown binary version"),
        (model(variable("a", 9, MATRIX)), "unknown type"),
        (model(variable("a", 0, MATRIX)), "sizes and bytes disagree"),
        (model(variable("a", 4, MATRIX))[:-8], "ends early"),
        (b"", "ends early"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=word):
        read_ct2(path)
