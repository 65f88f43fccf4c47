"""Content hashes of files, folders and JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text. Raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON value's canonical text, in hex. File names that are not UTF-8 (surrogates) are hashed too."""
    return hashlib.sha256(_encoded(canonical_json(value))).hexdigest()


class ListFingerprint:
    """The `fingerprint` of a list whose items come in parts and need not be in memory together.

    Args:
        before: with these it is that of `[*before, items]`.
    """

    def __init__(self, *before: Any) -> None:
        self._start, self._end = (canonical_json(before)[:-1] + ",[", "]]") if before else ("[", "]")
        self._hash = hashlib.sha256()

    def add(self, items: Sequence[Any]) -> None:
        """The next items."""
        if items:
            self._hash.update(_encoded(self._start + canonical_json(items)[1:-1]))
            self._start = ","

    def hexdigest(self) -> str:
        """Of all items so far."""
        whole = self._hash.copy()
        whole.update(_encoded(self._end if self._start == "," else self._start + self._end))
        return whole.hexdigest()


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def file_digest(path: Path, kind: str) -> str:
    """The digest of a file's bytes, in hex; `kind` is hashlib's name of it. Reads the file in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return file_digest(path, "sha256")


def files_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 over the hashes of several files, in the order given."""
    return fingerprint([file_sha256(path) for path in paths])
