"""When each frame of a video is shown, from its packets' timestamps: for corpora whose labels count frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.media.probe import probe_media
from components.media.reader import MediaReader, refused


@dataclass(frozen=True, kw_only=True)
class FrameClock:
    """`times_s` (N,) float64 when frames 1 … N are shown, ascending, the first at 0; `end_s` when the last one ends."""

    times_s: NDArray[np.float64]
    end_s: float

    @classmethod
    def regular(cls, frames: int, rate_hz: float) -> FrameClock:
        """The clock of frames at one rate."""
        return cls(times_s=np.arange(frames, dtype=np.float64) / rate_hz, end_s=frames / rate_hz)


def frame_clock(path: Path, reader: MediaReader) -> FrameClock:
    """Reads the timestamps of a video's frames; decodes none of them.

    Raises:
        MediaError: codes of `probe.probe_media` and `MediaReader.times_s`, `no-streams`.
    """
    try:
        probe_media(path)
    except MediaError as error:
        raise error.at(path.name) from error
    times_s = np.sort(reader.times_s(path))
    if not times_s.size:
        raise refused("the video contains no picture", path, "no frames", Code.NO_STREAMS)
    times_s -= times_s[0]
    usual_s = float(np.median(np.diff(times_s))) if times_s.size > 1 else 0.0
    return FrameClock(times_s=times_s, end_s=float(times_s[-1]) + usual_s)
