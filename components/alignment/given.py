"""Given features on the clip's clock: an array of any rate becomes one vector per step, a single vector holds
throughout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.contracts.records import Clip, GivenFeatures
from components.contracts.timebase import Grid, pool_mean
from components.datasets.given import GivenArray, GivenReader


@dataclass(frozen=True, kw_only=True)
class SampleStretch:
    """Samples over a stretch of the clip.

    `values` (N, D); `starts_s`, `ends_s` (N,), or None for a single sample without an end, which lasts as long as the
    clip.
    """

    values: NDArray[np.float32]
    starts_s: NDArray[np.float64] | None = None
    ends_s: NDArray[np.float64] | None = None


Given = Mapping[str, Sequence[SampleStretch]]


def read_given(clip: Clip, reader: GivenReader) -> Given:
    """Modality → pieces of the clip's given features. Raises MediaError as `GivenReader.read`, and `width`,
    `no-rate`."""
    by_modality: dict[str, list[SampleStretch]] = {}
    for features in clip.given:
        array = reader.read(features)
        pieces = by_modality.setdefault(features.modality, [])
        if pieces and pieces[0].values.shape[1] != array.width:
            raise MediaError(
                f"the given {features.modality} changes its width within the clip",
                where=clip.clip_id,
                seen=array.width,
                allowed=pieces[0].values.shape[1],
                remedy="The file was changed after the datasets stage: run that again",
                code=Code.WIDTH,
            )
        pieces.append(_piece(features, array, where=clip.clip_id))
    return by_modality


def end_s(given: Given, clip: Clip) -> float | None:
    """Where the last piece ends, or None without any end (single vectors only, or nothing given). Labelled segments
    belong to the clip too."""
    ends = [_last_s(piece) for pieces in given.values() for piece in pieces if piece.ends_s is not None]
    ends += [features.end_s for features in clip.given if features.end_s is not None]
    ends += [segment.end_s for segment in clip.segments]
    return max(ends, default=None)


def on_grid(given: Given, grid: Grid, duration_s: float) -> dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Modality → ((T, D) means of the samples that overlap each step, (T,) True where one does)."""
    return {modality: _pooled(pieces, grid, duration_s) for modality, pieces in sorted(given.items())}


def cut_notes(given: Given, duration_s: float, rate_hz: float) -> list[str]:
    """Notes on samples that begin more than a step after the clip's end."""
    notes = []
    for modality, pieces in sorted(given.items()):
        last_s = max(_last_s(piece) for piece in pieces)
        if last_s > duration_s + 1.0 / rate_hz:
            notes.append(f"{modality}: {last_s - duration_s:.2f} s of the given features lie beyond the clip")
    return notes


def _last_s(piece: SampleStretch) -> float:
    return float(piece.ends_s[-1]) if piece.ends_s is not None and piece.ends_s.size else 0.0


def _piece(given: GivenFeatures, array: GivenArray, *, where: str) -> SampleStretch:
    starts_s, ends_s = _spans(given, array, where=where)
    if starts_s is None or ends_s is None:
        return SampleStretch(values=array.values)
    limit_s = np.inf if given.end_s is None else given.end_s
    inside = starts_s < limit_s
    return SampleStretch(
        values=array.values[inside], starts_s=starts_s[inside], ends_s=np.minimum(ends_s[inside], limit_s)
    )


def _spans(
    given: GivenFeatures, array: GivenArray, *, where: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """The interval of each sample on the clip's clock: by its times, else by the rate, else evenly over the span."""
    count = len(array.values)
    if array.times_s is not None:
        starts_s = given.start_s + array.times_s
        usual_s = float(np.median(np.diff(starts_s))) if count > 1 else 0.0
        last_s = given.end_s if given.end_s is not None else float(starts_s[-1]) + usual_s
        return starts_s, np.append(starts_s[1:], max(last_s, float(starts_s[-1])))
    if count == 1:
        if given.end_s is None:
            return None, None
        return np.array([given.start_s]), np.array([given.end_s])
    rate_hz = array.rate_hz or given.rate_hz
    if rate_hz is None and given.end_s is not None:
        rate_hz = count / (given.end_s - given.start_s)
    if rate_hz is None:
        raise MediaError(
            f"the samples of the given {given.modality} have no times",
            where=where,
            seen=f"{count} samples",
            remedy="Run the datasets stage again: it sets such arrays aside",
            code=Code.NO_RATE,
        )
    edges_s = given.start_s + np.arange(count + 1, dtype=np.float64) / rate_hz
    return edges_s[:-1], edges_s[1:]


def _pooled(
    pieces: Iterable[SampleStretch], grid: Grid, duration_s: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    values, starts_s, ends_s = [], [], []
    for piece in pieces:
        values.append(piece.values)
        starts_s.append(np.zeros(1) if piece.starts_s is None else piece.starts_s)
        ends_s.append(np.array([duration_s]) if piece.ends_s is None else piece.ends_s)
    return pool_mean(np.concatenate(values), np.concatenate(starts_s), np.concatenate(ends_s), grid)
