"""The files of a bundle by name, and their verification: names, kinds, sizes and hashes, without reading a tensor.

`components/registry/bundle.py` says what each holds; this module imports neither torch nor numpy, so that a command
that only has to name or copy a bundle starts at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from components.contracts.errors import BundleError
from components.contracts.fingerprint import file_sha256

FORMAT = 1
DESCRIPTION = "bundle.json"
LINEAGE = "lineage.json"
# Those that compute: the weights and the transform of their inputs.
MODEL_FILES: tuple[str, ...] = ("model.safetensors", "transform.safetensors", "transform.json")
FILES: tuple[str, ...] = (
    *MODEL_FILES,
    "reference.safetensors",
    "reference.json",
    "golden.safetensors",
    "golden.json",
)
# A bundle may come from anyone who can write to the registry: nothing is read into memory before its size is checked.
MAX_JSON_BYTES = 4 << 20
MAX_TENSORS_BYTES = 4 << 30


def verify_files(folder: Path) -> tuple[str, dict[str, Any]]:
    """Checks names, kinds, sizes and hashes of a folder's files; reads no tensor.

    Returns:
        (bundle_sha256, the value of bundle.json).

    Raises:
        BundleError: not a bundle of this format; a file is missing, unknown, a link, too large, or altered.
    """
    if not folder.is_dir():
        raise BundleError("there is no such bundle", where=str(folder))
    path = folder / DESCRIPTION
    if not path.is_file():
        raise BundleError("this folder is not a bundle", where=str(folder), seen=f"no {DESCRIPTION}")
    value = read_bounded_json(path)
    if value.get("format") != FORMAT:
        raise BundleError(
            "the bundle has a different format",
            where=folder.name,
            seen=value.get("format"),
            allowed=FORMAT,
            remedy="Load it with the code that wrote it, or register the model again.",
        )
    hashes = value.get("files")
    if not isinstance(hashes, dict):
        raise BundleError("the list of files is missing", where=f"{folder.name}/{DESCRIPTION}")
    _check_names(folder, hashes)
    for name, recorded in sorted(hashes.items()):
        sha256 = file_sha256(folder / name)
        if sha256 != recorded:
            raise BundleError("the file was altered", where=f"{folder.name}/{name}", seen=sha256, allowed=recorded)
    return file_sha256(path), value


def read_bounded_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most `MAX_JSON_BYTES`. Raises BundleError."""
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise BundleError("the file is too large", where=path.name, seen=f"{size} bytes", allowed=MAX_JSON_BYTES)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError("not valid JSON", where=f"{path.parent.name}/{path.name}", seen=str(error)) from error
    if not isinstance(value, dict):
        raise BundleError(
            "a JSON object is required", where=f"{path.parent.name}/{path.name}", seen=type(value).__name__
        )
    return value


def _check_names(folder: Path, hashes: Mapping[str, Any]) -> None:
    for name in hashes:
        if PurePosixPath(name).name != name or name in {".", "..", ""} or "\\" in name:
            raise BundleError("a file name must not point outside the bundle", where=folder.name, seen=name)
    if set(hashes) != set(FILES):
        raise BundleError(
            "the list of files is not that of a bundle",
            where=f"{folder.name}/{DESCRIPTION}",
            seen=", ".join(sorted(hashes)),
            allowed=", ".join(sorted(FILES)),
        )
    allowed = {*FILES, DESCRIPTION, LINEAGE}
    present = {path.name for path in folder.iterdir()}
    if missing := sorted(allowed - present):
        raise BundleError("a file is missing", where=folder.name, seen=", ".join(missing))
    if unknown := sorted(present - allowed):
        raise BundleError("a file does not belong to a bundle", where=folder.name, seen=", ".join(unknown))
    for name in sorted(allowed):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BundleError("only plain files may be in a bundle", where=f"{folder.name}/{name}")
        limit = MAX_JSON_BYTES if path.suffix == ".json" else MAX_TENSORS_BYTES
        if path.stat().st_size > limit:
            raise BundleError("the file is too large", where=name, seen=f"{path.stat().st_size} bytes", allowed=limit)
