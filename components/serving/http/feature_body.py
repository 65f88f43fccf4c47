"""Reads the body of `POST /v1/predict:features`: the features of one clip, as safetensors or JSON, under limits.

A value has the width of the modality's encoder, as it gives them (before the version's transform), on the version's
grid; a step that is not there is NaN throughout, in JSON `null`. Nothing in it is executed: safetensors is a header of
JSON and bytes (github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError, nearest
from components.features.base import Encoded

SAFETENSORS, JSON = "application/vnd.safetensors", "application/json"
# Five minutes of four wide modalities are 20 MB.
MAX_BYTES = 64 << 20
# Numbers as text are read a hundred times more slowly, and a byte may become forty.
MAX_JSON_BYTES = 4 << 20
MAX_HEADER_BYTES = 1 << 16
LENGTH_BYTES = 8
WHERE = "features"


def read_features(
    body: bytes, content_type: str, *, widths: Mapping[str, int], rate_hz: float, max_duration_s: float
) -> dict[str, Encoded]:
    """The features of one clip by modality, all on one grid.

    Args:
        body: of the request.
        content_type: its header.
        widths: modality of the version → features per step.
        rate_hz: steps per second of its grid.
        max_duration_s: the longest clip.

    Raises:
        DataError: not of that form; a modality the version does not have, or has with a different width; modalities of
            different lengths, no step, or a step that is partly there (`bad-request`).
        MediaError: too large or too long (`too-large`, `too-long`), or of a different kind (`unsupported-media`).
    """
    kind = _kind(content_type)
    if kind not in READERS:
        raise MediaError(
            "features of a different kind",
            where="Content-Type",
            seen=kind[:100],
            allowed=", ".join(READERS),
            code=Code.UNSUPPORTED_MEDIA,
        )
    reader, most = READERS[kind]
    if len(body) > most:
        raise MediaError(
            "the body is too large",
            where=WHERE,
            seen=f"more than {most} bytes",
            allowed=f"at most {most} bytes of {kind}",
            remedy="safetensors is smaller than JSON" if kind == JSON else "Send the clip in parts",
            code=Code.TOO_LARGE,
        )
    arrays = reader(body, widths)
    if unknown := sorted(set(arrays) - set(widths)):
        raise _refused(
            "the version has no such modality",
            where=f"{WHERE}.{unknown[0]}"[:100],
            allowed=", ".join(widths),
            remedy=nearest(unknown[0], widths),
        )
    if not arrays:
        raise _refused("there are no features", allowed=", ".join(widths))
    encoded = {name: _encoded(name, array, widths[name]) for name, array in sorted(arrays.items())}
    lengths = {name: own.valid.size for name, own in encoded.items()}
    if len(set(lengths.values())) > 1:
        raise _refused("the modalities differ in their number of steps", seen=lengths)
    steps, most_steps = next(iter(lengths.values())), int(max_duration_s * rate_hz)
    if steps > most_steps:
        raise MediaError(
            "the clip is too long",
            where=WHERE,
            seen=f"{steps} steps",
            allowed=f"at most {most_steps}, {max_duration_s:g} s at {rate_hz:g} Hz",
            code=Code.TOO_LONG,
        )
    return encoded


def is_json(content_type: str) -> bool:
    """Whether a body of this header is JSON."""
    return _kind(content_type) == JSON


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _encoded(name: str, array: NDArray[np.float32], width: int) -> Encoded:
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        raise _refused(
            "features of a different shape",
            where=f"{WHERE}.{name}",
            seen=list(array.shape),
            allowed=f"(steps, {width})",
        )
    missing: NDArray[np.bool_] = np.asarray(np.isnan(array).all(axis=1))
    if not np.isfinite(array[~missing]).all():
        raise _refused(
            "a step has values that are not finite",
            where=f"{WHERE}.{name}, step {int(np.nonzero(~missing & ~np.isfinite(array).all(axis=1))[0][0])}",
            allowed="numbers, or NaN throughout (in JSON null) for a step that is not there",
        )
    return Encoded(np.where(missing[:, None], np.float32(0), array), ~missing)


def _from_safetensors(body: bytes, _: Mapping[str, int]) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(body[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise _refused("the header of the tensors is too long", seen=f"{length} bytes", allowed=f"{MAX_HEADER_BYTES}")
    try:
        tensors = load(body)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _refused("this is not safetensors", seen=str(error)[:200]) from error
    if wrong := sorted(name for name, values in tensors.items() if values.dtype != np.float32):
        raise _refused(
            "features of a different type",
            where=f"{WHERE}.{wrong[0]}"[:100],
            seen=str(tensors[wrong[0]].dtype),
            allowed="float32",
        )
    return tensors


def _from_json(body: bytes, widths: Mapping[str, int]) -> dict[str, NDArray[np.float32]]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refused("this is not JSON", seen=str(error)[:200]) from error
    if not isinstance(given, dict) or not all(isinstance(rows, list) for rows in given.values()):
        raise _refused("not features by modality", allowed='{"face": [[…], null, …], …}')
    return {name: _array(name, rows, widths.get(name, 0)) for name, rows in given.items()}


def _array(name: str, rows: list[Any], width: int) -> NDArray[np.float32]:
    missing = [float("nan")] * width
    try:
        return np.array([missing if row is None else row for row in rows], dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise _refused(
            "the rows are not numbers, or not all equally long",
            where=f"{WHERE}.{name}"[:100],
            allowed=f"{width} numbers",
        ) from error


def _refused(
    what: str, *, where: str = WHERE, seen: object = None, allowed: object = None, remedy: str | None = None
) -> DataError:
    return DataError(what, where=where, seen=seen, allowed=allowed, remedy=remedy, code=Code.BAD_REQUEST)


Reader = Callable[[bytes, Mapping[str, int]], dict[str, NDArray[np.float32]]]
# Content type → what reads it, and its most bytes.
READERS: Mapping[str, tuple[Reader, int]] = {
    SAFETENSORS: (_from_safetensors, MAX_BYTES),
    JSON: (_from_json, MAX_JSON_BYTES),
}
