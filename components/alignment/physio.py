"""Reads physiological channels and resamples them on the clip's clock.

The file is Parquet with a column `time_s` (float64, seconds from the zero of its recording) and one number column per
channel (`ecg`, `eda`, `resp` …). Channels may differ in rate: a row without a value for a channel holds null or NaN.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.contracts.timebase import Grid
from components.media.probe import check_file
from components.media.sound import samples_of
from components.media.source import reason, too_long
from components.media.span import Span

TIME = "time_s"
GAP_INTERVALS = 3.0  # samples further apart than this many usual intervals have a gap between them
MAX_CHANNELS = 32
MAX_RATE_HZ = 10_000.0
RATE_SLACK = 0.01
MARGIN_S = 1.0  # read on either side of a span

Series = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def read_physio(path: Path, limits: MediaLimits, *, where: str, span: Span | None = None) -> Series:
    """Reads the channels of a file, or of a span of it; the limits of time and rows apply to the part that is read.

    Returns:
        channel → (times (n,) ascending seconds from the span's start, values (n,)), finite samples only; a channel
        without any is left out.

    Raises:
        MediaError: `missing-file`, `empty-file`, `lfs-pointer`, `too-large`, `physio-format`, `too-long`.
    """
    check_file(path, max_bytes=limits.max_bytes, where=where)
    try:
        schema = pq.ParquetFile(path).schema_arrow
        columns = schema.names
        channels = [name for name in columns if name != TIME]
        if TIME not in columns or not channels:
            raise _refused(path, where, ", ".join(columns), f"{TIME} and at least one channel")
        # Checked before any row is read: a column of text may expand to a terabyte from a file of a few bytes.
        for name in columns:
            kind = schema.field(columns.index(name)).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
                raise _refused(path, where, f"column {name} of type {kind}", "numbers")
        if len(set(columns)) < len(columns):
            raise _refused(path, where, f"columns {', '.join(columns)}", "one column of each name")
        if len(channels) > MAX_CHANNELS:
            raise _refused(path, where, f"{len(channels)} channels", f"at most {MAX_CHANNELS}")
        within = None if span is None else _within(span)
        from pyarrow.dataset import dataset  # with pandas, a second of imports

        rows = dataset(path).count_rows(filter=within)
        if rows > limits.max_duration_s * MAX_RATE_HZ:
            raise _refused(path, where, f"{rows} rows", f"at most {MAX_RATE_HZ:g} rows per second of the longest clip")
        table = pq.read_table(path, filters=within)
    except (pa.ArrowException, OSError, ValueError) as error:  # a name that is not UTF-8 is a ValueError
        raise _refused(path, where, reason(error).splitlines()[0][:120], "a Parquet file") from error
    with np.errstate(invalid="ignore"):  # times that are not finite are left out below
        times = _numbers(table, TIME) - (span.start_s if span else 0.0)
    series: Series = {}
    for name in channels:
        values = _numbers(table, name)
        finite = np.isfinite(times) & (np.abs(values) <= np.finfo(np.float32).max)
        at, first = np.unique(times[finite], return_index=True)
        if at.size > 1 and float(np.median(np.diff(at))) < (1 - RATE_SLACK) / MAX_RATE_HZ:
            raise _refused(path, where, f"{name} more than {MAX_RATE_HZ:g} times per second", "a rate below that")
        if at.size:
            series[name] = (at, values[finite][first])
    lasts_s = max((float(at[-1] - at[0]) for at, _ in series.values()), default=0.0)
    margin_s = 0.0 if span is None else 2 * MARGIN_S
    if lasts_s > limits.max_duration_s + margin_s:
        raise too_long(lasts_s, limits, where)
    return series


def _within(span: Span) -> pc.Expression:
    """The rows of a span, and those next to it, between which its first and last values are interpolated."""
    rows = pc.field(TIME) >= span.start_s - MARGIN_S
    return rows if span.end_s is None else rows & (pc.field(TIME) < span.end_s + MARGIN_S)


def resampled(series: Series, duration_s: float, rate_hz: float) -> dict[str, NDArray[np.float32]]:
    """Every channel at `rate_hz` from t = 0.

    A channel is interpolated linearly; one that is faster than the target is first laid on a whole multiple of it and
    low-pass filtered (windowed sinc, zero phase), so that nothing folds into the band. Outside its samples, and in
    gaps, it is NaN.

    Args:
        series: as `read_physio` returns it.
        duration_s: of the clip.
        rate_hz: of the result.

    Returns:
        channel → (N,) float32.
    """
    grid_s = np.arange(samples_of(duration_s, rate_hz), dtype=np.float64) / rate_hz
    return {name: _resampled(times, values, grid_s, rate_hz) for name, (times, values) in sorted(series.items())}


def _resampled(
    times: NDArray[np.float64], values: NDArray[np.float64], grid_s: NDArray[np.float64], rate_hz: float
) -> NDArray[np.float32]:
    usual_s = float(np.median(np.diff(times))) if times.size > 1 else 1.0 / rate_hz
    factor = max(1, math.ceil(1.0 / (usual_s * rate_hz) - 1e-6))
    # Samples around the clip keep the filter's ends outside of it.
    before_s, after_s = max(-float(times[0]), 0.0), max(float(times[-1] - grid_s[-1]), 0.0)
    lead, tail = (int(min(around_s, MARGIN_S) * rate_hz) for around_s in (before_s, after_s))
    fine_s = np.arange((lead + grid_s.size + tail) * factor, dtype=np.float64) / (rate_hz * factor) - lead / rate_hz
    fine = np.interp(fine_s, times, values)
    if factor > 1:
        # The mean is taken out so that the filter's zero padding does not bend the ends of a signal with an offset.
        mean = float(fine.mean())
        from scipy.signal import resample_poly  # a second of imports

        fine = resample_poly(fine - mean, 1, factor) + mean
    following = np.clip(np.searchsorted(times, grid_s, side="left"), 0, times.size - 1)
    preceding = np.clip(np.searchsorted(times, grid_s, side="right") - 1, 0, times.size - 1)
    slack_s = max(usual_s, 1.0 / rate_hz) / 2
    outside = (grid_s < times[0] - slack_s) | (grid_s > times[-1] + slack_s)
    in_gap = times[following] - times[preceding] > GAP_INTERVALS * usual_s
    return np.where(outside | in_gap, np.nan, fine[lead : lead + grid_s.size]).astype(np.float32)


def physio_mask(channels: dict[str, NDArray[np.float32]], rate_hz: float, grid: Grid) -> NDArray[np.bool_]:
    """(T,) True in every step with a sample of any channel."""
    mask = np.zeros(grid.num_steps, dtype=bool)
    for values in channels.values():
        at_s = np.nonzero(np.isfinite(values))[0] / rate_hz
        steps = np.floor(at_s * grid.rate_hz + 1e-6).astype(np.int64)
        mask[steps[steps < grid.num_steps]] = True
    return mask


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    column = table.column(name).cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _refused(path: Path, where: str, seen: str, allowed: str) -> MediaError:
    return MediaError(
        f"physiological file {path.name!r} cannot be used",
        where=where,
        seen=seen,
        allowed=allowed,
        remedy=f"Write it as Parquet with `{TIME}` in seconds and one number column per channel",
        code=Code.PHYSIO_FORMAT,
    )
