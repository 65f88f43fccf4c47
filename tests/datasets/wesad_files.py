"""Recordings as WESAD ships them: pickles of Python 2, signals of two devices, a label a sample of the chest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHEST_HZ = 700
WRIST_HZ = {"ACC": 32, "BVP": 64, "EDA": 4, "TEMP": 4}
CHEST = {"ACC": 3, "ECG": 1, "EMG": 1, "EDA": 1, "Temp": 1, "Resp": 1}
WRIST = {"ACC": 3, "BVP": 1, "EDA": 1, "TEMP": 1}


def python2_pickle(value: Any) -> bytes:
    """A value as Python 2 and its NumPy write it, protocol 0."""
    return _text0(value) + b"."


def _text0(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"(d" + b"".join(_text0(name) + _text0(inner) + b"s" for name, inner in value.items())
    if isinstance(value, str | bytes):
        raw = value.encode("latin1") if isinstance(value, str) else value
        return b"S" + repr(raw)[1:].encode() + b"\n"
    shape = b"(" + b"".join(b"I%d\n" % size for size in value.shape) + b"t"
    kind = b"S'%s'\nI0\nI1\n" % value.dtype.str[1:].encode()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
        + shape
        + b"cnumpy\ndtype\n(" + kind + b"tR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        + _text0(value.tobytes())
        + b"tb"
    )  # fmt: skip


def recording(
    subject: str, conditions: Sequence[tuple[int, float]] = ((0, 2.0), (1, 12.0), (2, 10.0), (0, 1.0))
) -> dict[str, Any]:
    """A recording: (condition, seconds) one after the other. A signal tells which one it is: sample / rate, in seconds,
    plus 100 for the wrist."""
    labels = np.concatenate([np.full(round(seconds * CHEST_HZ), code, np.int32) for code, seconds in conditions])
    seconds = labels.size / CHEST_HZ
    chest = {name: _signal(seconds, CHEST_HZ, width) for name, width in CHEST.items()}
    wrist = {name: 100 + _signal(seconds, WRIST_HZ[name], width) for name, width in WRIST.items()}
    return {"signal": {"chest": chest, "wrist": wrist}, "label": labels, "subject": subject}


def _signal(seconds: float, rate_hz: int, width: int) -> NDArray[np.float64]:
    column = np.arange(int(seconds * rate_hz)) / rate_hz
    return np.repeat(column[:, None], width, axis=1)


def write_subject(folder: Path, subject: str, **fields: Any) -> Path:
    """`SX/SX.pkl` and its readme."""
    place = folder / subject
    place.mkdir(parents=True)
    path = place / f"{subject}.pkl"
    path.write_bytes(python2_pickle(recording(subject, **fields)))
    readme = "### Personal information:\nAge: 27\nHeight (cm): 175\nGender: male\nDominant hand: right\n"
    (place / f"{subject}_readme.txt").write_text(readme)
    return path
