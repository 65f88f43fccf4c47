"""A reader for the pickles of WESAD that does not trust them: nothing in the file is imported, called or executed.

A pickle is a program for a small machine that can call anything that can be imported. WESAD needs next to nothing of
that: dictionaries, strings, numbers and NumPy arrays, written by Python 2. So this reader

* runs the machine of the standard library with the few operations that those need and refuses every other by its name;
* resolves five names to its own stand-ins and refuses every other by its name. NumPy's own code that rebuilds arrays is
  not used either: it was not written for hostile input;
* builds the arrays afterwards, from the bytes, once type, shape and size agree.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.media.probe import check_file

Tree = Mapping[str, Any]

MAX_BYTES = 8_000_000_000
MAX_DEPTH = 4
MAX_VALUES = 1000
# What dictionaries, strings, numbers and arrays are made of, in the protocols 0 to 4.
OPERATIONS = (
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
    *("GET", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
)
DTYPE = re.compile(r"[fiub][1248]")
ORDERS = {"<": "<", ">": ">", "|": "|", "=": "<"}


class _RefusedError(Exception):
    """The file uses something that a recording of WESAD does not need; the text names it."""


class _Dtype:
    """Stands in for a numpy.dtype: the kind and size, and the byte order from its state."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.order = "<"

    def take(self, state: Any) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else None
        plain = isinstance(state, tuple) and all(part is None for part in state[2:5])  # no fields, no sub-array
        if order not in ORDERS or not plain:
            raise _RefusedError("a data type that is not a plain number")
        self.order = ORDERS[order]


class _Array:
    """Stands in for a numpy.ndarray: its state as stored in the file."""

    state: tuple[Any, ...] = ()

    def take(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("an array without a state")
        self.state = state

    def values(self) -> NDArray[Any]:
        """The array, read-only, if type, shape and size agree."""
        _, shape, dtype, fortran, raw = self.state or (None,) * 5
        sizes = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        if not sizes or not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise _RefusedError("an array that does not hold numbers")
        kind = np.dtype(dtype.order + dtype.kind)
        if len(raw) != kind.itemsize * int(np.prod(shape, dtype=object)):
            raise _RefusedError(f"an array of shape {shape} in {len(raw)} bytes")
        values = np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if fortran else "C")
        return values.astype(kind.newbyteorder("="), copy=False)


def _reconstruct(*_: object) -> _Array:
    """numpy.core.multiarray._reconstruct: the state follows, and only the state is used."""
    return _Array()


def _dtype(kind: object, *_: object) -> _Dtype:
    """numpy.dtype of a number."""
    text = _text(kind)
    if text is None or not DTYPE.fullmatch(text):
        raise _RefusedError(f"an array of type {text!r}")
    return _Dtype(text)


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """_codecs.encode, which is how Python 3 writes bytes into an old protocol."""
    if not isinstance(text, str) or _text(encoding) not in {"latin1", "latin-1"}:
        raise _RefusedError("an encoding of text")
    return text.encode("latin1")


def _ndarray(*_: object) -> _Array:
    raise _RefusedError("a call of numpy.ndarray")


NAMES: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.ndarray": _ndarray,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
}


class _Reader(pickle._Unpickler):
    """The pure Python machine: its operations are a table that can be cut down, and its memory grows only with its
    content, whereas that of the C machine grows with a number in the file."""

    dispatch: ClassVar[dict[int, Any]] = {}
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        full_name = f"{module}.{name}"
        if full_name not in NAMES:
            raise _RefusedError(full_name)
        return NAMES[full_name]

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if not isinstance(arguments, tuple) or not any(function is allowed for allowed in NAMES.values()):
            raise _RefusedError("a call of something unknown")
        self.stack[-1] = function(*arguments)

    def build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if not isinstance(instance, _Array | _Dtype):
            raise _RefusedError("the state of something unknown")
        instance.take(state)


def _allowed() -> dict[int, Any]:
    """The machine's table, cut down; every other operation is refused by its name."""
    full, table = pickle._Unpickler.dispatch, {}
    for name in pickle.__all__:
        code = getattr(pickle, name)
        if not isinstance(code, bytes) or len(code) != 1 or code[0] not in full:
            continue
        table[code[0]] = full[code[0]] if name in OPERATIONS else _refuse(name)
    return {**table, pickle.REDUCE[0]: _Reader.call, pickle.BUILD[0]: _Reader.build}


def _refuse(name: str) -> Callable[[_Reader], None]:
    def refuse(_: _Reader) -> None:
        raise _RefusedError(f"the operation {name}")

    return refuse


_Reader.dispatch = _allowed()


def read_tree(path: Path) -> Tree:
    """The dictionary of a pickle: names → dictionaries, arrays (read-only), strings and numbers.

    Raises:
        MediaError: `missing-file`, `empty-file`, `lfs-pointer`, `too-large`; `unsafe-pickle` (the file uses something
            that no recording needs; `seen` names it); `bad-pickle` (cut off, or not a pickle).
    """
    check_file(path, where=path.name)
    if path.stat().st_size > MAX_BYTES:
        raise _error(path, f"{path.stat().st_size} bytes", Code.TOO_LARGE)
    try:
        with path.open("rb") as stream:
            loaded = _Reader(stream, fix_imports=False, encoding="bytes").load()
        return _tree(loaded, iter(range(MAX_VALUES)))
    except _RefusedError as refused:
        raise _error(path, str(refused), Code.UNSAFE_PICKLE) from refused
    except Exception as error:  # the machine raises nearly anything on a file that is not a pickle
        raise _error(path, f"{type(error).__name__}: {error}"[:120], Code.BAD_PICKLE) from error


def _tree(value: Any, budget: Iterator[int], depth: int = 0) -> Any:
    """The loaded values, with stand-ins replaced by arrays and bytes by text.

    `budget` bounds a tree of few dictionaries that contain each other repeatedly.
    """
    if next(budget, None) is None or depth > MAX_DEPTH:
        raise _RefusedError("dictionaries within dictionaries without end")
    if isinstance(value, dict):
        return {_text(name): _tree(inner, budget, depth + 1) for name, inner in value.items()}
    if isinstance(value, _Array):
        return value.values()
    if isinstance(value, bytes | str):
        return _text(value)
    if value is None or isinstance(value, int | float):
        return value
    raise _RefusedError(f"a value of the type {type(value).__name__}")


def _text(value: object) -> str | None:
    return value.decode("latin1") if isinstance(value, bytes) else value if isinstance(value, str) else None


def _error(path: Path, seen: str, code: Code) -> MediaError:
    return MediaError(
        "this is not a recording of WESAD",
        where=path.name,
        seen=seen,
        allowed="a pickle of dictionaries, text, numbers and NumPy arrays of numbers",
        remedy="Download the corpus again from its authors; do not load this file with pickle.load",
        code=code,
    )
