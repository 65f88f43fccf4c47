from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import MediaError
from components.contracts.records import GivenFeatures
from components.datasets import given
from components.datasets.given import GivenArray, GivenReader, majority_widths


def read(path: Path, key: str = "a", modality: str = "face", rate_hz: float | None = None) -> GivenArray:
    one = GivenFeatures(modality=modality, path=path.name, key=key, rate_hz=rate_hz)
    return GivenReader(path.parent).read(one)


def refused(path: Path, key: str = "a", rate_hz: float | None = None) -> MediaError:
    with pytest.raises(MediaError) as caught:
        read(path, key, rate_hz=rate_hz)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)  # messages end up in outputs
    return caught.value


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "face.npz"


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    return tmp_path / "face.parquet"


def test_an_npz_has_one_entry_a_clip(npz: Path) -> None:
    np.savez(npz, a=np.arange(6).reshape(3, 2), b=np.array([0.5, 1.5]))
    assert GivenReader(npz.parent).keys(npz.name, "face") == ("a", "b")
    assert read(npz, "a").values.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert read(npz, "b").values.tolist() == [[0.5, 1.5]]  # one sample
    assert read(npz, "a").values.dtype == np.float32


def test_an_npz_may_be_a_stack_of_vectors_with_their_names(npz: Path) -> None:
    np.savez(npz, clip=np.array(["x", "y"]), face=np.array([[1.0, 2.0], [3.0, 4.0]]), other=np.zeros(9))
    assert GivenReader(npz.parent).keys(npz.name, "face") == ("x", "y")
    assert read(npz, "y").values.tolist() == [[3, 4]]


def test_a_clip_called_clip_makes_no_stack(npz: Path) -> None:
    np.savez(npz, clip=np.ones((2, 3)), b=np.zeros((2, 3)))
    assert read(npz, "clip").values.shape == (2, 3)


def test_a_stack_that_does_not_fit_its_names_is_refused(npz: Path) -> None:
    np.savez(npz, clip=np.array(["x", "y"]), face=np.zeros((3, 2)))
    assert refused(npz, "x").code == "bad-shape"


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], pa.list_(pa.list_(pa.float32()))),
        pa.array([[[1, 2], [3, 4]], [[5, 6]]], pa.list_(pa.list_(pa.int16(), 2))),
        pa.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], pa.large_list(pa.large_list(pa.float64()))),
    ],
    ids=["lists", "fixed-size lists", "large lists"],
)
def test_parquet_holds_lists_of_lists(parquet: Path, values: pa.Array) -> None:
    pq.write_table(pa.table({"clip_id": ["a", "b"], "values": values}), parquet, row_group_size=1)
    assert read(parquet, "a").values.tolist() == [[1, 2], [3, 4]]
    assert read(parquet, "b").values.tolist() == [[5, 6]]


def test_parquet_holds_single_vectors_and_tensors(parquet: Path) -> None:
    pq.write_table(pa.table({"clip_id": ["a", "b"], "values": [[1.0, 2.0], [3.0, 4.0]]}), parquet)
    assert read(parquet, "b").values.tolist() == [[3, 4]]
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    pq.write_table(pa.table({"clip_id": ["a", "b"], "values": tensors}), parquet)
    assert read(parquet, "b").values.tolist() == [[6, 7], [8, 9], [10, 11]]


def test_parquet_says_a_rate_or_times_a_row(parquet: Path) -> None:
    rows = {"clip_id": ["a", "b"], "values": [[[1.0], [2.0]]] * 2}
    pq.write_table(pa.table({**rows, "rate_hz": [25.0, None], "times": [None, [0.0, 0.4]]}), parquet)
    first, second = read(parquet, "a"), read(parquet, "b")
    assert (first.rate_hz, first.times_s) == (25.0, None)
    assert second.rate_hz is None
    assert second.times_s is not None
    assert second.times_s.tolist() == [0.0, 0.4]


def test_the_hash_follows_what_is_in_an_array(npz: Path) -> None:
    np.savez(npz, a=np.zeros((2, 3)), b=np.zeros((2, 3)), c=np.zeros((3, 2)), d=np.ones((2, 3)))
    hashes = [read(npz, key).sha256() for key in "abcd"]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((0, 4)), "empty-array"),
        (np.zeros((4, 0)), "empty-array"),
        (np.zeros((2, 3, 4)), "bad-shape"),
        (np.array(1.0), "bad-shape"),
        (np.array(["x", "y"]), "not-numbers"),
        (np.array([1 + 2j]), "not-numbers"),
        (np.full((2, 2), 1e300), "not-finite"),  # no float32
    ],
    ids=["no samples", "no width", "three axes", "a number", "words", "complex", "beyond float32"],
)
def test_an_array_that_is_no_table_of_numbers_is_refused(npz: Path, array: np.ndarray, code: str) -> None:
    np.savez(npz, a=array)
    assert refused(npz).code == code


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_clip_modality_and_step(npz: Path, bad: float) -> None:
    values = np.zeros((50, 3))
    values[[7, 9], 1] = bad
    np.savez(npz, a=values)
    error = refused(npz, rate_hz=25.0)
    assert error.code == "not-finite"
    assert "a: face in face.npz" in str(error)
    assert "2 of 50 samples, the first at step 7 (0.28 s)" in str(error)


def test_objects_are_never_unpickled(npz: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(npz, a=np.array([Trap()], dtype=object))
    error = refused(npz)
    assert error.code == "object-array"
    assert "np.float32" in str(error)
    assert not (tmp_path / "sprung").exists()


def test_an_array_larger_than_the_bound_is_refused_before_it_is_read(npz: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 512)})
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr("a.npy", header.getvalue())  # a promise without the data
    assert refused(npz).code == "too-large"


def test_too_many_samples_are_refused(npz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "MAX_SAMPLES", 10)
    np.savez(npz, a=np.zeros((11, 2)))
    assert refused(npz).code == "too-large"


def test_a_missing_clip_names_what_is_there(npz: Path) -> None:
    np.savez(npz, other=np.zeros((2, 2)))
    error = refused(npz)
    assert error.code == "no-such-key"
    assert "'other'" in str(error)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "missing-file"),
        (b"", "empty-file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "lfs-pointer"),
        (b"PK\x03\x04 and then nothing", "features-format"),
        (b"not a zip at all", "features-format"),
    ],
)
@pytest.mark.parametrize("name", ["face.npz", "face.parquet"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes | None, code: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name).code == code


def test_a_damaged_entry_is_refused_and_the_others_are_read(npz: Path) -> None:
    np.savez(npz, a=np.zeros((64, 8)), b=np.ones((64, 8)))
    raw = bytearray(npz.read_bytes())
    raw[raw.index(b"a.npy") + 400] ^= 0xFF
    npz.write_bytes(raw)
    assert refused(npz, "a").code == "features-format"  # its checksum does not hold
    assert read(npz, "b").values.shape == (64, 8)


@pytest.mark.parametrize(
    ("column", "code"),
    [
        (pa.array([[[1.0], [1.0, 2.0]]]), "bad-shape"),
        (pa.array([[["x"]]]), "not-numbers"),
        (pa.array([[[1.0, None]]]), "not-finite"),
        (pa.array([None], pa.list_(pa.list_(pa.float32()))), "empty-array"),
    ],
    ids=["ragged", "words", "a missing number", "nothing"],
)
def test_a_cell_that_is_no_table_of_numbers_is_refused(parquet: Path, column: pa.Array, code: str) -> None:
    pq.write_table(pa.table({"clip_id": ["a"], "values": column}), parquet)
    assert refused(parquet).code == code


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.0], [0.5, 0.1], [-1.0, 0.0], [0.0, float("nan")]])
def test_times_must_fit_their_samples(parquet: Path, times: list[float]) -> None:
    pq.write_table(pa.table({"clip_id": ["a"], "values": [[[1.0], [2.0]]], "times": [times]}), parquet)
    assert refused(parquet).code == "bad-times"


@pytest.mark.parametrize("rate_hz", [0.0, -5.0, float("nan")])
def test_a_rate_must_be_one(parquet: Path, rate_hz: float) -> None:
    pq.write_table(pa.table({"clip_id": ["a"], "values": [[[1.0], [2.0]]], "rate_hz": [rate_hz]}), parquet)
    assert refused(parquet).code == "bad-times"


def test_a_table_needs_its_columns_and_each_clip_once(parquet: Path) -> None:
    pq.write_table(pa.table({"clip": ["a"], "values": [[1.0]]}), parquet)
    assert "clip_id, values" in str(refused(parquet))
    pq.write_table(pa.table({"clip_id": ["a", "a"], "values": [[1.0], [2.0]]}), parquet)
    assert "twice" in str(refused(parquet))


def test_the_usual_width_is_that_of_most() -> None:
    seen = [("face", 4), ("face", 4), ("face", 6), ("voice", 9), ("voice", 8)]
    assert majority_widths(seen) == {"face": 4, "voice": 8}
