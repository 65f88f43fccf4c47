"""When each frame of a video is shown, from its packets' timestamps: for corpora whose labels count frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import MediaError
from components.datasets.probe import probe_media

ATTACHED_PICTURE = 0x0400  # AV_DISPOSITION_ATTACHED_PIC: cover art, no picture stream
MAX_FRAMES = 10_000_000  # two days at 60 a second


@dataclass(frozen=True, kw_only=True)
class FrameClock:
    """`times_s` (N,) float64 when frames 1 … N are shown, ascending, the first at 0; `end_s` when the last one ends."""

    times_s: NDArray[np.float64]
    end_s: float

    @classmethod
    def regular(cls, frames: int, rate_hz: float) -> FrameClock:
        """The clock of frames at one rate."""
        return cls(times_s=np.arange(frames, dtype=np.float64) / rate_hz, end_s=frames / rate_hz)


def stamp_s(packet: Any) -> float | None:
    """When a packet of a file is shown or heard, or None where nothing says so."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return None if stamp is None or packet.is_discard else float(stamp * packet.time_base)


def frame_clock(path: Path) -> FrameClock:
    """Reads the timestamps of a video's frames; decodes none of them.

    Raises:
        MediaError: codes of `probe.probe_media`, `not-media`, `no-streams`.
    """
    import av  # loads in a second; commands that only list datasets never come here

    try:
        probe_media(path)
    except MediaError as error:
        raise error.at(path.name) from error
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            streams = [one for one in container.streams.video if not int(one.disposition) & ATTACHED_PICTURE]
            stamps = []
            for packet in container.demux(streams[:1]) if streams else ():
                at_s = stamp_s(packet)
                if at_s is not None:
                    stamps.append(at_s)
                if len(stamps) > MAX_FRAMES:
                    break
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _refused("the video cannot be read", path, type(error).__name__, "not-media") from error
    if not stamps:
        raise _refused("the video holds no picture", path, "no frames", "no-streams")
    times_s = np.sort(np.array(stamps, dtype=np.float64))
    times_s -= times_s[0]
    usual_s = float(np.median(np.diff(times_s))) if times_s.size > 1 else 0.0
    return FrameClock(times_s=times_s, end_s=float(times_s[-1]) + usual_s)


def _refused(what: str, path: Path, seen: str, code: str) -> MediaError:
    return MediaError(
        what,
        where=path.name,
        seen=seen,
        allowed="a video with frames",
        remedy="Download the video again, or take its labels out",
        code=code,
    )
