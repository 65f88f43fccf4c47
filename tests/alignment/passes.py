"""Both passes over a file, as alignment makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.contracts.config import MediaLimits
from components.media.frames import DecodeReport, frames
from components.media.scan import FileScan, Pictures, scan

LIMITS = MediaLimits()


def first_pass(path: Path, limits: MediaLimits = LIMITS) -> FileScan:
    return scan(path, limits, rate_hz=16_000, where="tiny/a", picture=True, sound=True)


def second_pass(path: Path, wanted_s: np.ndarray, limits: MediaLimits = LIMITS) -> tuple[dict, DecodeReport]:
    report = DecodeReport()
    return dict(frames(path, wanted_s, limits, report, where="tiny/a")), report


def all_pictures(path: Path, pictures: Pictures) -> tuple[dict, DecodeReport]:
    """Every picture of a file by its number in the order of showing."""
    report = DecodeReport()
    timeline, decode_ordered = pictures.timeline, pictures.decode_ordered
    got = frames(
        path, pictures.times_s, LIMITS, report, where="tiny/a", timeline=timeline, decode_ordered=decode_ordered
    )
    return dict(got), report


def levels() -> list[int]:
    """The grey of the pictures of a clip of two seconds."""
    return [20 + 4 * k for k in range(50)]
