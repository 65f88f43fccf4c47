"""Ready-made features of a corpus: one file per modality, one array per clip, read with bounds and without pickle.

Two kinds of file, distinguished by their suffix:

* `.npz`, either one entry per clip, named by the clip's key: (T, D), or (D,) for one sample; or a stack: an entry
  `clip` of N names and an entry `<modality>` of (N, D), one sample per clip.
* `.parquet`, one row per clip: `clip_id`, `values` (a list of numbers, a list of lists, or a fixed-shape tensor), and
  optionally `rate_hz` (samples per second) or `times` (the second at which each sample begins).
"""

from __future__ import annotations

import hashlib
import threading
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.contracts.records import GivenFeatures
from components.media.probe import check_file

SUFFIXES = (".npz", ".parquet")
STACK_NAMES = "clip"
MAX_SAMPLES = 2_000_000
MAX_WIDTH = 16_384
MAX_BYTES = 1 << 30
NUMBER_KINDS = "fiub"
_ENTRY = ".npy"
# What numpy, zip, zlib and Arrow raise on malformed bytes.
UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
    pa.ArrowException,
)


@dataclass(frozen=True, kw_only=True)
class GivenArray:
    """One array of a feature file: `values` (T, D) float32, finite; `times_s` (T,) ascending, if the file has the start
    of each sample; `rate_hz`, if it has the number of samples per second."""

    values: NDArray[np.float32]
    times_s: NDArray[np.float64] | None = None
    rate_hz: float | None = None

    @property
    def width(self) -> int:
        """D."""
        return self.values.shape[1]

    def sha256(self) -> str:
        """Hash of values, times and rate."""
        digest = hashlib.sha256(repr((self.values.shape, self.rate_hz)).encode())
        digest.update(np.ascontiguousarray(self.values, dtype="<f4").tobytes())
        digest.update(b"" if self.times_s is None else self.times_s.astype("<f8").tobytes())
        return digest.hexdigest()


class _File(Protocol):
    """An opened feature file."""

    @property
    def keys(self) -> Mapping[str, object]:
        """The keys, in the file's order."""

    def read(self, key: str) -> tuple[NDArray[np.generic], NDArray[np.generic] | None, float | None]:
        """(values, times, rate) as stored in the file."""


class GivenReader:
    """Reads arrays of feature files; each file is opened and indexed once. May be used from several threads.

    Relative paths start at `root`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[tuple[str, str], _File] = {}
        self._lock = threading.Lock()

    def keys(self, path: str, modality: str) -> tuple[str, ...]:
        """The clips of a file, in its order. Raises MediaError if it cannot be read."""
        with self._lock:
            return tuple(self._open(path, modality).keys)

    def read(self, given: GivenFeatures) -> GivenArray:
        """The array of one clip.

        Raises:
            MediaError: `missing-file`, `empty-file`, `lfs-pointer`, `features-format`, `no-such-key`, `object-array`,
                `not-numbers`, `bad-shape`, `empty-array`, `too-large`, `bad-times`, `not-finite`; the message names
                file, modality and clip.
        """
        where = f"{given.key}: {given.modality} in {given.path}"
        with self._lock:
            file = self._open(given.path, given.modality)
            if given.key not in file.keys:
                raise MediaError(
                    "the file has no such clip",
                    where=where,
                    seen=f"{len(file.keys)} clips, the first {next(iter(file.keys), 'none')!r}",
                    remedy="Name the array as the table names the clip",
                    code=Code.NO_SUCH_KEY,
                )
            try:
                values, times, rate_hz = file.read(given.key)
            except MediaError as error:
                raise error.at(where) from error
            except UNREADABLE as error:
                raise _unreadable(where, error) from error
        return _checked(values, times, rate_hz, where, fallback_hz=given.rate_hz)

    def _open(self, path: str, modality: str) -> _File:
        cached = self._files.get((path, modality))
        if cached is not None:
            return cached
        place = self._root / path
        try:
            check_file(place, where=path)
            opened: _File = _Npz(place, modality) if place.suffix.lower() == ".npz" else _Parquet(place, modality)
        except MediaError as error:
            raise error.at(path) from error
        except UNREADABLE as error:
            raise _unreadable(path, error) from error
        self._files[path, modality] = opened
        return opened


class _Npz:
    """An `.npz`: a zip of `.npy` files. Headers are read before data, so that no oversized array is loaded."""

    def __init__(self, path: Path, modality: str) -> None:
        self._zip = zipfile.ZipFile(path)
        names = [name.removesuffix(_ENTRY) for name in self._zip.namelist() if name.endswith(_ENTRY)]
        self._stack: NDArray[np.generic] | None = None
        self._rows: dict[str, int] = {}
        if STACK_NAMES in names and modality in names:
            labels = self._load(STACK_NAMES, kinds="US")
            stack = self._load(modality)
            if labels.ndim != 1 or stack.ndim != 2 or len(labels) != len(stack):
                raise MediaError(
                    "the stack of features and its names do not match",
                    seen=f"{STACK_NAMES} {labels.shape}, {modality} {stack.shape}",
                    allowed=f"{STACK_NAMES} (N,), {modality} (N, D)",
                    code=Code.BAD_SHAPE,
                )
            self._stack = stack
            for row, label in enumerate(labels.tolist()):
                self._rows.setdefault(label.decode() if isinstance(label, bytes) else str(label), row)
            names = list(self._rows)
        self.keys: Mapping[str, object] = dict.fromkeys(names)

    def read(self, key: str) -> tuple[NDArray[np.generic], NDArray[np.generic] | None, float | None]:
        if self._stack is not None:
            return self._stack[self._rows[key]], None, None
        return self._load(key), None, None

    def _load(self, name: str, kinds: str = NUMBER_KINDS) -> NDArray[np.generic]:
        with self._zip.open(name + _ENTRY) as stream:
            shape, dtype = _header(stream)
        _check_header(shape, dtype, kinds)
        with self._zip.open(name + _ENTRY) as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an `.npy` (NEP 1); versions above 2.0 hold only named fields, which are not plain numbers."""
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f".npy format {version}")
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_header(shape: tuple[int, ...], dtype: np.dtype[np.generic], kinds: str) -> None:
    if dtype.hasobject:
        raise MediaError(
            "an array of Python objects is not read: loading it could run code",
            seen=str(dtype),
            allowed="numbers",
            remedy="Save it as np.asarray(values, dtype=np.float32)",
            code=Code.OBJECT_ARRAY,
        )
    if dtype.kind not in kinds:
        raise MediaError("the array does not hold numbers", seen=str(dtype), allowed="numbers", code=Code.NOT_NUMBERS)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_BYTES:
        raise _too_large(f"{shape} of {dtype}", f"at most {MAX_BYTES >> 20} MiB")


class _Parquet:
    """A Parquet table with one row per clip; one row group is held at a time."""

    def __init__(self, path: Path, modality: str) -> None:
        self._file = pq.ParquetFile(path)
        names = self._file.schema_arrow.names
        if "clip_id" not in names or "values" not in names:
            raise MediaError(
                "the table lacks a column",
                seen=", ".join(names),
                allowed="clip_id, values, and optionally rate_hz or times",
                code=Code.FEATURES_FORMAT,
            )
        self._columns = [name for name in ("values", "rate_hz", "times") if name in names]
        self._where: dict[str, tuple[int, int]] = {}
        for group in range(self._file.num_row_groups):
            column = self._file.read_row_group(group, columns=["clip_id"])["clip_id"].to_pylist()
            for row, key in enumerate(column):
                if str(key) in self._where:
                    raise MediaError(
                        "a clip occurs twice in the table",
                        seen=str(key),
                        allowed="one row per clip",
                        remedy="Write a clip's samples as one list of lists",
                        code=Code.FEATURES_FORMAT,
                    )
                self._where[str(key)] = (group, row)
        self._group: tuple[int, pa.Table] | None = None
        self.keys: Mapping[str, object] = self._where

    def read(self, key: str) -> tuple[NDArray[np.generic], NDArray[np.generic] | None, float | None]:
        group, row = self._where[key]
        if self._group is None or self._group[0] != group:
            size = self._file.metadata.row_group(group).total_byte_size
            if size > MAX_BYTES:
                remedy = "Write the table with smaller row groups"
                raise _too_large(f"a row group of {size >> 20} MiB", f"at most {MAX_BYTES >> 20} MiB", remedy)
            self._group = (group, self._file.read_row_group(group, columns=self._columns))
        cells = self._group[1].slice(row, 1)
        times = _array(cells["times"]) if "times" in self._columns and cells["times"][0].is_valid else None
        rate_hz = cells["rate_hz"][0].as_py() if "rate_hz" in self._columns else None
        return _array(cells["values"]), times, None if rate_hz is None else float(rate_hz)


def _array(column: pa.ChunkedArray) -> NDArray[np.generic]:
    """The single cell of a column as an array; lists of lists must be of one length. A missing number is NaN."""
    cell = column.combine_chunks()
    shape: tuple[int, ...] = ()
    if isinstance(cell.type, pa.FixedShapeTensorType):
        shape, cell = tuple(cell.type.shape), cell.storage
    if cell.null_count:
        return np.zeros((0, 0), np.float32)
    inner = cell.flatten()
    if pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type) or pa.types.is_fixed_size_list(inner.type):
        lengths = {len(row) if row.is_valid else -1 for row in inner}
        if len(lengths) > 1 or -1 in lengths:
            raise MediaError(
                "the samples have different widths",
                seen=f"{len(inner)} samples of {sorted(lengths)[:4]} numbers",
                allowed="one width",
                code=Code.BAD_SHAPE,
            )
        shape, inner = (len(inner), *lengths), inner.flatten()
    if not (pa.types.is_floating(inner.type) or pa.types.is_integer(inner.type) or pa.types.is_boolean(inner.type)):
        raise MediaError(
            "the list does not hold numbers", seen=str(inner.type), allowed="numbers", code=Code.NOT_NUMBERS
        )
    numbers = inner.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(numbers.reshape(shape) if shape else numbers)


def _checked(
    values: NDArray[np.generic],
    times: NDArray[np.generic] | None,
    rate_hz: float | None,
    where: str,
    *,
    fallback_hz: float | None,
) -> GivenArray:
    """The array as (T, D) float32; raises MediaError for its first defect."""
    if values.dtype.kind not in NUMBER_KINDS:
        raise MediaError("the array does not hold numbers", where=where, seen=str(values.dtype), code=Code.NOT_NUMBERS)
    if values.ndim not in (1, 2):
        raise MediaError(
            "the array has the wrong shape",
            where=where,
            seen=str(values.shape),
            allowed="(T, D), or (D,) for one sample",
            code=Code.BAD_SHAPE,
        )
    rows = values[None, :] if values.ndim == 1 else values
    if not rows.size:
        raise MediaError("the array is empty", where=where, seen=str(values.shape), code=Code.EMPTY_ARRAY)
    if len(rows) > MAX_SAMPLES or rows.shape[1] > MAX_WIDTH:
        error = _too_large(str(rows.shape), f"at most {MAX_SAMPLES} samples of {MAX_WIDTH} numbers")
        raise error.at(where)
    if rate_hz is not None and not (np.isfinite(rate_hz) and rate_hz > 0):
        raise MediaError(
            "the rate is not a positive number", where=where, seen=rate_hz, allowed="above 0 Hz", code=Code.BAD_TIMES
        )
    times_s = None if times is None else np.asarray(times, dtype=np.float64)
    if times_s is not None:
        _check_times(times_s, len(rows), where)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(rows, dtype=np.float32)
    bad = np.nonzero(~np.isfinite(narrow).all(axis=1))[0]
    if bad.size:
        sample_hz = rate_hz or fallback_hz
        at_s = times_s[bad[0]] if times_s is not None else bad[0] / sample_hz if sample_hz else None
        moment = "" if at_s is None else f" ({at_s:.2f} s)"
        raise MediaError(
            "a sample holds NaN or infinity",
            where=where,
            seen=f"{bad.size} of {len(rows)} samples, the first at step {bad[0]}{moment}",
            allowed="finite numbers",
            remedy="Leave such samples out and give `times`, or leave the clip out of this modality",
            code=Code.NOT_FINITE,
        )
    return GivenArray(values=narrow, times_s=times_s, rate_hz=None if rate_hz is None else float(rate_hz))


def _check_times(times_s: NDArray[np.float64], samples: int, where: str) -> None:
    complete = times_s.shape == (samples,) and bool(np.isfinite(times_s).all())
    if not complete or times_s[0] < 0 or bool((np.diff(times_s) <= 0).any()):
        raise MediaError(
            "the times do not match the samples",
            where=where,
            seen=f"times {times_s.shape} for {samples} samples",
            allowed="one finite time in seconds per sample, from 0 on, ascending",
            code=Code.BAD_TIMES,
        )


def majority_widths(widths: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Modality → the most common width of its arrays (the narrower of two equally common), from (modality, width)."""
    counts: dict[str, dict[int, int]] = {}
    for modality, width in widths:
        counts.setdefault(modality, {})
        counts[modality][width] = counts[modality].get(width, 0) + 1
    return {
        modality: min(arrays_of, key=lambda width: (-arrays_of[width], width))
        for modality, arrays_of in sorted(counts.items())
    }


def _too_large(seen: str, allowed: str, remedy: str | None = None) -> MediaError:
    return MediaError("the array is too large", seen=seen, allowed=allowed, remedy=remedy, code=Code.TOO_LARGE)


def _unreadable(where: str, error: Exception) -> MediaError:
    return MediaError(
        "this feature file cannot be read",
        where=where,
        seen=f"{type(error).__name__}: {error}".splitlines()[0][:120],
        allowed=" or ".join(SUFFIXES),
        remedy="Write it again with np.savez, or as Parquet",
        code=Code.FEATURES_FORMAT,
    )
