"""Reads the variables of a CTranslate2 `model.bin` as plain arrays, without the ctranslate2 library.

Layout (little endian; OpenNMT/CTranslate2, `specs/model_spec.py` and `src/models/model.cc`, binary version 6): u32
version; string name of the specification; u32 revision; u32 number of variables; for each a string name, u8 rank, u32
sizes, u8 type, u32 number of bytes, the bytes; u32 number of aliases; for each two strings, alias and variable.
A string is a u16 length that counts a closing NUL, then the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError

BINARY_VERSION = 6
# bfloat16 (5) has no numpy type; it is read as its bits.
_TYPES: dict[int, type[np.generic]] = {
    0: np.float32,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.float16,
    5: np.uint16,
}


@dataclass(frozen=True, kw_only=True)
class Ct2Model:
    """A converted model: name and revision of its specification, and its variables by name."""

    specification: str
    revision: int
    variables: dict[str, NDArray[np.generic]]


def read_ct2(path: Path, selected: Callable[[str], bool] = lambda name: True) -> Ct2Model:
    """Reads the variables whose names `selected` accepts; the others are skipped, not loaded.

    Raises:
        DataError: an unsupported version, an unknown type, sizes that do not fit the bytes, or a truncated file.
    """
    with path.open("rb") as stream:
        version = _unsigned(stream, path, "<I")
        if version != BINARY_VERSION:
            raise DataError(
                "unknown binary version of a CTranslate2 model", where=str(path), seen=version, allowed=BINARY_VERSION
            )
        specification = _string(stream, path)
        revision = _unsigned(stream, path, "<I")
        variables: dict[str, NDArray[np.generic]] = {}
        for _ in range(_unsigned(stream, path, "<I")):
            name = _string(stream, path)
            shape = tuple(_unsigned(stream, path, "<I") for _ in range(_unsigned(stream, path, "<B")))
            kind = _unsigned(stream, path, "<B")
            size = _unsigned(stream, path, "<I")
            if kind not in _TYPES:
                raise DataError("unknown type", where=f"{path}: {name}", seen=kind, allowed=sorted(_TYPES))
            if size != np.dtype(_TYPES[kind]).itemsize * int(np.prod(shape, dtype=np.int64)):
                raise DataError("sizes and bytes disagree", where=f"{path}: {name}", seen=f"{shape}, {size} bytes")
            if selected(name):
                variables[name] = np.frombuffer(_take(stream, path, size), dtype=_TYPES[kind]).reshape(shape)
            else:
                stream.seek(size, 1)
        for _ in range(_unsigned(stream, path, "<I")):
            alias, variable = _string(stream, path), _string(stream, path)
            if variable in variables and selected(alias):
                variables[alias] = variables[variable]
    return Ct2Model(specification=specification, revision=revision, variables=variables)


def _take(stream: BinaryIO, path: Path, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise DataError("the file ends early", where=str(path), seen=f"{len(data)} bytes", allowed=f"{size} bytes")
    return data


def _unsigned(stream: BinaryIO, path: Path, layout: str) -> int:
    (value,) = struct.unpack(layout, _take(stream, path, struct.calcsize(layout)))
    return int(value)


def _string(stream: BinaryIO, path: Path) -> str:
    return _take(stream, path, _unsigned(stream, path, "<H")).rstrip(b"\0").decode("utf-8")
