"""Converts decoded frames to arrays, turned and scaled as a player shows them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from components.contracts.config import MediaLimits

# Exact conversion: the fast paths round differently from processor to processor.
CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
QUARTER_TURN_DEG = 90
# Formats whose first plane is the brightness itself, one byte per pixel.
BRIGHTNESS_FIRST = frozenset(
    {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuva420p", "nv12", "nv21", "gray"}
)
GLANCE_PX = 320  # the longer side of a glance's picture
SQUARE_PIXELS = 0.01  # pixels this near to square are shown as they are stored,
ODD_PIXELS = 4.0  # and so are those that would be stretched more than this: such a header is damaged


class Upright:
    """Frames as a player shows them: turned as the display matrix says (phones write portrait clips sideways), and
    with square pixels (DV and broadcast formats store others; `pixel_ratio` is a pixel's width over its height)."""

    def __init__(self, pixel_ratio: float, limits: MediaLimits) -> None:
        odd = not 1 / ODD_PIXELS <= pixel_ratio <= ODD_PIXELS
        self._ratio = 1.0 if odd or abs(pixel_ratio - 1) <= SQUARE_PIXELS else pixel_ratio
        self._max_side_px = limits.max_side_px
        self._reformatter = VideoReformatter()

    def rgb(self, frame: Any) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return self._turned(frame, self._converted(frame, "rgb24"))

    def small(self, frame: Any) -> NDArray[np.uint8]:
        """(h, w) brightness, the longer side no more than GLANCE_PX."""
        if frame.format.name in BRIGHTNESS_FIRST:
            plane = frame.planes[0]
            grey = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        else:
            grey = self._converted(frame, "gray")
        width, height = self._square(frame.width, frame.height)
        scale = min(1.0, GLANCE_PX / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        # Always a copy: the decoder reuses the frame's memory.
        small = grey.copy() if size == grey.shape[::-1] else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return self._turned(frame, np.asarray(small, dtype=np.uint8))

    def _converted(self, frame: Any, name: str) -> NDArray[np.uint8]:
        width, height = self._square(frame.width, frame.height)
        how = int(CONVERSION)
        converted = self._reformatter.reformat(frame, width, height, format=name, interpolation=how, threads=1)
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)

    def _square(self, width: int, height: int) -> tuple[int, int]:
        """The size with square pixels: the side that is too short grows or, beyond the limit, the other one shrinks."""
        wide, high = round(width * self._ratio), round(height / self._ratio)
        if self._ratio >= 1:
            return (wide, height) if wide <= self._max_side_px else (width, max(1, high))
        return (width, high) if high <= self._max_side_px else (max(1, wide), height)

    @staticmethod
    def _turned(frame: Any, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turns = round(frame.rotation / QUARTER_TURN_DEG) % 4
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
