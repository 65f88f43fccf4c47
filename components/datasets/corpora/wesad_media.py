"""Recordings of WESAD as physiological files: each condition cut into pieces, each channel at its rate on one clock.

The two devices were put on one clock by the authors: sample k of a channel is at k over its rate, and the labels are
those of the chest's samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.datasets.corpora.wesad_pickle import Tree

# To be raised when the written files change.
VERSION = 1
LABEL_HZ = 700
# Device → its channels → samples per second (RespiBAN, Empatica E4).
RATES_HZ: Mapping[str, Mapping[str, int]] = {
    "chest": dict.fromkeys(("ACC", "ECG", "EMG", "EDA", "Temp", "Resp"), LABEL_HZ),
    "wrist": {"ACC": 32, "BVP": 64, "EDA": 4, "TEMP": 4},
}
TICKS_HZ = math.lcm(LABEL_HZ, *(rate for channels in RATES_HZ.values() for rate in channels.values()))
CONDITIONS = {1: "baseline", 2: "stress", 3: "amusement", 4: "meditation"}
LABELS = range(8)
AXES = ("x", "y", "z")
MIN_S = 5.0  # a shorter stretch of a label is a labelling slip
SPARE_S = 1.0  # the most by which the devices may differ in length


@dataclass(frozen=True, kw_only=True)
class ConditionPiece:
    """Samples `[first, last)` of the labels; `name` is made of the condition, its occurrence and the part."""

    name: str
    condition: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One signal: (N,) values at `rate_hz`, the first at the recording's start."""

    rate_hz: int
    values: NDArray[np.floating]


def labels_of(tree: Tree, subject: str, *, where: str) -> NDArray[np.int64]:
    """(N,) condition codes at `LABEL_HZ`. Raises MediaError: no such array, a different person's, an unknown code."""
    labels = tree.get("label")
    if tree.get("subject") != subject:
        raise _refused(where, f"the recording of {tree.get('subject')!r}", f"that of {subject!r}")
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not labels.size:
        raise _refused(where, "no labels", "one label per sample of the chest")
    odd = sorted(set(np.unique(labels).tolist()) - set(LABELS))
    if odd:
        raise _refused(where, f"the label {odd[0]}", f"{LABELS[0]} to {LABELS[-1]}")
    return labels.astype(np.int64)


def channels_of(tree: Tree, devices: tuple[str, ...], labels: int, *, where: str) -> dict[str, Channel]:
    """Name → signal. Names are lower case; one that both devices have begins with `wrist_` for the wrist.

    Raises:
        MediaError: a signal is missing, is not an array of its width, or is not as long as the labels.
    """
    signal = tree.get("signal")
    channels: dict[str, Channel] = {}
    for device in devices:
        signals = signal.get(device) if isinstance(signal, Mapping) else None
        for name, rate_hz in RATES_HZ[device].items():
            values = signals.get(name) if isinstance(signals, Mapping) else None
            width = len(AXES) if name == "ACC" else 1
            if not isinstance(values, np.ndarray) or not 1 <= values.ndim <= 2 or values[0:1].size != width:
                raise _refused(where, f"no {device} {name}", f"an array of {width} columns")
            if abs(len(values) / rate_hz - labels / LABEL_HZ) > SPARE_S:
                seen = f"{device} {name} of {len(values) / rate_hz:.1f} s"
                raise _refused(where, seen, f"{labels / LABEL_HZ:.1f} s, as long as the labels")
            columns = values.reshape(len(values), width).T
            for axis, column in zip(AXES, columns, strict=False):
                plain = name.lower() if width == 1 else f"{name.lower()}_{axis}"
                channels[f"{device}_{plain}" if plain in channels else plain] = Channel(rate_hz=rate_hz, values=column)
    return channels


def pieces_of(labels: NDArray[np.int64], window_s: float | None) -> list[ConditionPiece]:
    """Stretches of one condition, each cut into equal parts of about `window_s`."""
    edges = [0, *(np.nonzero(np.diff(labels))[0] + 1).tolist(), labels.size]
    times: dict[str, int] = {}
    pieces = []
    for first, last in pairwise(edges):
        condition = CONDITIONS.get(int(labels[first]))
        seconds = (last - first) / LABEL_HZ
        if condition is None or seconds < MIN_S:
            continue
        times[condition] = times.get(condition, 0) + 1
        parts = 1 if window_s is None else max(1, round(seconds / window_s))
        cuts = np.linspace(first, last, parts + 1).round().astype(int).tolist()
        for part, (begin, end) in enumerate(pairwise(cuts), start=1):
            name = f"{condition}_{times[condition]}_{part:02d}"
            pieces.append(ConditionPiece(name=name, condition=condition, first=begin, last=end))
    return pieces


def table_of(channels: Mapping[str, Channel], piece: ConditionPiece) -> pa.Table:
    """The signals of a piece as alignment reads them: `time_s` from the piece's start and one column per channel, empty
    in the rows between the samples of a slower one."""
    per_label = TICKS_HZ // LABEL_HZ
    begin, end = piece.first * per_label, piece.last * per_label
    ticks: dict[int, NDArray[np.int64]] = {}
    for rate_hz in {channel.rate_hz for channel in channels.values()}:
        step = TICKS_HZ // rate_hz
        ticks[rate_hz] = np.arange(-(-begin // step) * step, end, step, dtype=np.int64)
    rows = np.unique(np.concatenate(list(ticks.values())))
    columns: dict[str, Any] = {"time_s": (rows - begin) / TICKS_HZ}
    for name, channel in sorted(channels.items()):
        index = ticks[channel.rate_hz] * channel.rate_hz // TICKS_HZ
        recorded = index < len(channel.values)
        column = np.full(rows.size, np.nan, dtype=np.float32)
        column[np.searchsorted(rows, ticks[channel.rate_hz][recorded])] = channel.values[index[recorded]]
        columns[name] = pa.array(column, from_pandas=True)
    return pa.table(columns)


def _refused(where: str, seen: str, allowed: str) -> MediaError:
    return MediaError(
        "this is not a complete recording of WESAD",
        where=where,
        seen=seen,
        allowed=allowed,
        remedy="Unpack the recording again; `wesad: device:` names the devices that are read",
        code=Code.BAD_RECORDING,
    )
