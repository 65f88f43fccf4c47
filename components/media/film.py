"""A file as a few small pictures, for a person whose browser cannot play it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from components.contracts.config import MediaLimits
from components.media.chosen import scan_chosen
from components.media.frames import DecodeReport, frames
from components.media.images import jpeg_of
from components.media.tracks import BY_FLAGS

PER_S = 2.0
MOST = 120
SIDE_PX = 360
QUALITY = 80
# Of the sound, which is not read.
RATE_HZ, FLOOR_DBFS = 16_000, -60.0


@dataclass(frozen=True, kw_only=True)
class Film:
    """Pictures of a clip: when each is shown, in seconds after the first one, and itself as a JPEG."""

    times_s: tuple[float, ...] = ()
    jpegs: tuple[bytes, ...] = ()


def film(path: Path, limits: MediaLimits, *, where: str) -> Film:
    """Two pictures per second of a clip, upright, at most MOST of them, evenly spread, at most SIDE_PX wide and high;
    none of a file without a picture, and fewer where some do not decode.

    Raises:
        MediaError: as `scan.scan` and `images.image_times`.
    """
    scanned = scan_chosen(
        path,
        limits,
        rate_hz=RATE_HZ,
        floor_dbfs=FLOOR_DBFS,
        where=where,
        picture=True,
        sound=False,
        choices=BY_FLAGS,
    ).scan
    shown = scanned.pictures
    if shown is None or not shown.times_s.size:
        return Film()
    first_s = float(shown.times_s[0])
    lasts_s = max(float(shown.end_s) - first_s, 0.0)
    count = min(MOST, max(1, math.ceil(lasts_s * PER_S)))
    wanted_s = first_s + lasts_s * np.arange(count) / count
    chosen = np.unique(np.searchsorted(shown.times_s, wanted_s, side="right") - 1)
    times_s = shown.times_s[np.maximum(chosen, 0)]
    pictures = {
        float(times_s[index]) - first_s: _jpeg(picture)
        for index, picture in frames(
            path,
            times_s,
            limits,
            DecodeReport(),
            where=where,
            window=scanned.window,
            timeline=shown.timeline,
            decode_ordered=shown.decode_ordered,
            stream=shown.stream,
        )
    }
    return Film(times_s=tuple(pictures), jpegs=tuple(pictures.values()))


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return jpeg_of(small, QUALITY)
