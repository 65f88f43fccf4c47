"""A hostile pickle runs nothing, and a real one gives its arrays."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts.errors import MediaError
from components.datasets.corpora.wesad_pickle import read_tree
from tests.datasets.wesad_files import python2_pickle, recording


class Runs:
    """Pickles to a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def refusal(tmp_path: Path, data: bytes) -> MediaError:
    path = tmp_path / "S9.pkl"
    path.write_bytes(data)
    with pytest.raises(MediaError) as refused:
        read_tree(path)
    assert refused.value.where == "S9.pkl"
    return refused.value


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return bool(np.array_equal(left, right)) and getattr(left, "dtype", None) == getattr(right, "dtype", None)


def test_the_fixture_is_what_numpy_reads_itself() -> None:
    tree = recording("S2", [(1, 0.1)])
    assert same(pickle.loads(python2_pickle(tree), encoding="latin1"), tree)


@pytest.mark.parametrize("written", ["python 2", 0, 1, 2, 3, 4])
def test_a_recording_gives_its_arrays_and_names(tmp_path: Path, written: str | int) -> None:
    tree = recording("S2", [(1, 0.5), (2, 0.25)])
    tree["turned"] = {"F": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(3, dtype=">i4")}
    python2 = python2_pickle(recording("S2", [(1, 0.1)]))
    data = pickle.dumps(tree, protocol=written) if isinstance(written, int) else python2
    path = tmp_path / "S2.pkl"
    path.write_bytes(data)
    assert same(read_tree(path), pickle.loads(data, encoding="latin1"))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_of_a_hostile_file_runs(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    data = pickle.dumps({"signal": {"chest": Runs(f"touch {marker}")}}, protocol=protocol)
    pickle.loads(data)
    assert marker.exists()  # the file does what it says where it is trusted
    marker.unlink()
    refused = refusal(tmp_path, data)
    assert (refused.code, refused.seen) == ("unsafe-pickle", f"{os.system.__module__}.system")
    assert not marker.exists()


def stacked(module: str, name: str, *, call: bytes = b"") -> bytes:
    """Protocol 4: a name with dots reaches into what it names."""
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + texts + b"\x93" + call + b"."


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"(S'echo'\nios\nsystem\n.", "the operation INST"),
        (b"(cos\nsystem\nS'echo'\no.", "os.system"),
        (b"(cnumpy\nndarray\no.", "the operation OBJ"),
        (b"cbuiltins\neval\n(S'1+1'\ntR.", "builtins.eval"),
        (b"c__builtin__\neval\n(S'1+1'\ntR.", "__builtin__.eval"),
        (stacked("numpy.dtype", "__init__.__globals__"), "numpy.dtype.__init__.__globals__"),
        (stacked("numpy", "ndarray.__class__"), "numpy.ndarray.__class__"),
        (stacked("numpy", "load", call=b"\x8c\x01x\x85R"), "numpy.load"),
        (b"cnumpy\nndarray\n((I9999999999\nttR.", "a call of numpy.ndarray"),
        (b"cnumpy\nndarray\n)\x81.", "the operation NEWOBJ"),
        (b"P1\n.", "the operation PERSID"),
        (b"\x82\x01.", "the operation EXT1"),
        (b"cnumpy\ndtype\n}S'__defaults__'\nNsb.", "the state of something unknown"),
        (b"S'x'\n(tR.", "a call of something unknown"),
        (b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", "an array of type 'O8'"),
        (b"(lI1\na.", "the operation LIST"),
    ],
)  # fmt: skip
def test_what_no_recording_needs_is_refused_by_its_name(tmp_path: Path, data: bytes, seen: str) -> None:
    refused = refusal(tmp_path, data)
    assert (refused.code, refused.seen) == ("unsafe-pickle", seen)


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    refused = refusal(tmp_path, pickle.dumps({"label": np.array([{}, None])}, protocol=2))
    assert refused.code == "unsafe-pickle"


def test_an_array_must_be_as_large_as_it_says(tmp_path: Path) -> None:
    data = python2_pickle({"label": np.arange(4, dtype=np.int32)}).replace(b"(I4\nt", b"(I4000000000\nt")
    refused = refusal(tmp_path, data)
    assert refused.code == "unsafe-pickle"
    assert "shape (4000000000,) in 16 bytes" in str(refused.seen)


def test_a_number_in_the_file_is_not_the_size_of_a_table(tmp_path: Path) -> None:
    # The C machine of the standard library would lay out 2**32 places for this.
    path = tmp_path / "S9.pkl"
    path.write_bytes(b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b".")
    assert read_tree(path) == {}


def test_dictionaries_that_hold_each_other_end(tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    assert refusal(tmp_path, pickle.dumps(circle, protocol=2)).code == "unsafe-pickle"
    laughs: Any = {}
    for _ in range(3):
        laughs = {str(number): laughs for number in range(40)}
    assert refusal(tmp_path, pickle.dumps(laughs, protocol=2)).code == "unsafe-pickle"


def test_what_is_no_pickle_or_none_of_a_recording_is_said(tmp_path: Path) -> None:
    whole = python2_pickle(recording("S2", [(1, 0.1)]))
    assert refusal(tmp_path, whole[: len(whole) // 2]).code == "bad-pickle"
    assert refusal(tmp_path, b"\x00\x01\x02").code == "bad-pickle"
    assert refusal(tmp_path, b"<html>").code in {"bad-pickle", "unsafe-pickle"}
    assert refusal(tmp_path, b"").code == "empty-file"
    assert refusal(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n").code == "lfs-pointer"
    assert refusal(tmp_path, b"X\xff\xff\xff\x7fshort").code == "bad-pickle"  # two gigabytes of text that are not there
