"""What a mouth does, in five numbers per picture: how much it moves, and how open it looks.

A closed mouth is skin around a line; an open one has a dark middle, more contrast and a lower jaw. None of the five is
an opening in millimetres, but a weighted sum of them follows the opening of most mouths well enough to be compared with
the sound (`av_offset.py`), and the first alone decides who speaks (`speaker.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.envelope import RATE_HZ

# Part of a face's box that is looked at, as shares of it: from under the nose to the chin.
LEFT, RIGHT, TOP, BOTTOM = 0.125, 0.875, 0.53, 0.97
WIDTH, HEIGHT = 48, 28
# Parts of that, rows and columns: the mouth and its surroundings, its middle, the lips, the chin.
MOUTH, MIDDLE = np.s_[6:28, 6:42], np.s_[10:24, 16:32]
LIPS, CHIN = np.s_[8:28, 10:38], np.s_[20:28, 12:36]
DARK_PERCENTILE = 5
MAX_INTERVAL_S = 0.21  # pictures further apart carry no information about the mouth between them

Grey = NDArray[np.uint8]
Box = NDArray[np.float32]


def mouth_of(grey: Grey, box: Box) -> NDArray[np.float32]:
    """The mouth's part of a face, (HEIGHT, WIDTH) float32, cut to a fraction of a pixel.

    Args:
        grey: (h, w) uint8.
        box: x0, y0, x1, y1 of the face in its pixels.
    """
    wide, high = float(box[2] - box[0]), float(box[3] - box[1])
    x0, y0 = float(box[0]) + LEFT * wide, float(box[1]) + TOP * high
    # Where the face is large, more points are taken and averaged, so that noise and fine texture do not alias.
    fine = max(1, int(np.ceil((RIGHT - LEFT) * wide / WIDTH)))
    step_x, step_y = (RIGHT - LEFT) * wide / (WIDTH * fine), (BOTTOM - TOP) * high / (HEIGHT * fine)
    map_ = np.array([[step_x, 0, x0 + step_x / 2 - 0.5], [0, step_y, y0 + step_y / 2 - 0.5]], dtype=np.float64)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # In floating point: a movement of a fraction of a pixel is a fraction of a grey level.
    cut = cv2.warpAffine(
        grey.astype(np.float32), map_, (WIDTH * fine, HEIGHT * fine), flags=how, borderMode=cv2.BORDER_REPLICATE
    )
    if fine > 1:
        cut = cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cut, dtype=np.float32)


@dataclass
class Lips:
    """One mouth through a clip; a few hundred bytes a picture, and the last cut.

    `times_s` are the pictures', ascending; a row of `looks` is the opening in four numbers (middle against
    surroundings, contrast, darkest part, chin), `moves` the mean change since the picture before (NaN for the first).
    """

    times_s: list[float] = field(default_factory=list)
    looks: list[tuple[float, float, float, float]] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    _last: NDArray[np.float32] | None = None

    def add(self, time_s: float, mouth: NDArray[np.float32]) -> None:
        """Adds the next cut of `mouth_of`; one that is not later than the last is left out."""
        if self.times_s and time_s <= self.times_s[-1]:
            return
        lips = mouth[LIPS]
        self.looks.append(
            (
                float(mouth.mean() - mouth[MIDDLE].mean()),
                float(lips.std()),
                -float(np.percentile(lips, DARK_PERCENTILE)),
                float(mouth[CHIN].mean()),
            )
        )
        moved = np.nan if self._last is None else float(np.abs(mouth[MOUTH] - self._last[MOUTH]).mean())
        self.moves.append(moved)
        self.times_s.append(time_s)
        self._last = mouth

    @classmethod
    def joined(cls, parts: Iterable[Lips]) -> Lips:
        """The pieces of one face, none at the same time, as one."""
        whole = cls()
        for part in sorted((part for part in parts if part.times_s), key=lambda part: part.times_s[0]):
            whole.times_s += part.times_s
            whole.looks += part.looks
            whole.moves += [np.nan, *part.moves[1:]]
        return whole

    def sampled(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """At RATE_HZ: ((count, 5) motion and looks, (count,) True where the mouth was seen).

        A movement is stamped midway between its two pictures; values are interpolated between pictures that are
        no more than MAX_INTERVAL_S apart.
        """
        values = np.zeros((count, 5))
        seen = np.zeros(count, dtype=bool)
        times = np.array(self.times_s)
        if times.size < 3:
            return values, seen
        at = (np.arange(count) + 0.5) / RATE_HZ
        after = np.searchsorted(times, at)
        inside = (after > 0) & (after < times.size)
        before = np.clip(after - 1, 0, times.size - 2)
        moves = np.array(self.moves[1:])
        moved = np.isfinite(moves) & (np.diff(times) <= MAX_INTERVAL_S)
        if not moved.any():
            return values, seen
        seen = inside & moved[before]
        midway = (times[1:] + times[:-1]) / 2
        values[:, 0] = np.interp(at, midway[moved], moves[moved])
        looks = np.array(self.looks)
        for column in range(looks.shape[1]):
            values[:, column + 1] = np.interp(at, times, looks[:, column])
        return values, seen
