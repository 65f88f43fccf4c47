"""Converts decoded frames to arrays, turned, mirrored and scaled as a player shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from components.contracts.config import MediaLimits

# Exact conversion: the fast paths round differently from processor to processor.
CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
QUARTER_TURN_DEG = 90
DISPLAY_MATRIX, MATRIX_BYTES = "DISPLAYMATRIX", 36
# Formats whose first plane is the brightness itself, one byte per pixel.
BRIGHTNESS_FIRST = frozenset(
    {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuva420p", "nv12", "nv21", "gray"}
)
GLANCE_PX = 320  # the longer side of a glance's picture
SQUARE_PIXELS = 0.01  # pixels this near to square are shown as they are stored,
ODD_PIXELS = 4.0  # and so are those that would be stretched more than this: such a header is damaged


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture on its grid: rows and columns exchanged or not, then either reversed."""

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    @classmethod
    def of_matrix(cls, matrix: NDArray[np.int32]) -> Orientation:
        """The orientation next to a display matrix.

        Args:
            matrix: (9,) a, b, u, c, d, v, x, y, w in fixed point. A stored pixel (p, q) is shown at (a p + c q + x,
                b p + d q + y) (ISO/IEC 14496-12, section 6.2.2; FFmpeg's libavutil/display.h). Scale, offset and
                perspective are not applied, and an oblique angle goes to the nearest quarter turn; FFmpeg turns
                unequal scales into the pixels' aspect ratio itself.
        """
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transposed=True, rows_reversed=b < 0, columns_reversed=c < 0)
        return cls(rows_reversed=d < 0, columns_reversed=a < 0)

    @classmethod
    def of_angle(cls, degrees: float) -> Orientation:
        """The orientation next to a counter-clockwise rotation."""
        turns = round(degrees / QUARTER_TURN_DEG) % 4
        return cls(transposed=turns % 2 == 1, rows_reversed=turns in (1, 2), columns_reversed=turns in (2, 3))

    def laid(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The (H, W, …) picture as it is shown."""
        if self == STORED:
            return picture
        turned = picture.swapaxes(0, 1) if self.transposed else picture
        turned = turned[::-1] if self.rows_reversed else turned
        return np.ascontiguousarray(turned[:, ::-1] if self.columns_reversed else turned)


STORED = Orientation()


def glance_size(width: int, height: int) -> tuple[int, int]:
    """The size of a glance's picture: the longer side no more than GLANCE_PX."""
    scale = min(1.0, GLANCE_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class Upright:
    """Frames as a player shows them: turned and mirrored as their display matrix says (phones write portrait clips
    sideways, some cameras mirrored; a stream may change it within a clip), and with square pixels (DV and broadcast
    formats store others; `pixel_ratio` is a pixel's width over its height)."""

    def __init__(self, pixel_ratio: float, limits: MediaLimits) -> None:
        odd = not 1 / ODD_PIXELS <= pixel_ratio <= ODD_PIXELS
        self._ratio = 1.0 if odd or abs(pixel_ratio - 1) <= SQUARE_PIXELS else pixel_ratio
        self._max_side_px = limits.max_side_px
        self._reformatter = VideoReformatter()
        self._orientation = STORED
        self._rotation: float | None = None

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
        size = glance_size(*self._square(frame.width, frame.height))
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

    def _turned(self, frame: Any, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rotation = frame.rotation
        # The matrix costs far more to read than its angle. One in the stream itself (an SEI message of H.264 or HEVC)
        # comes with a key frame and holds until the next one.
        if frame.key_frame or self._rotation is None or rotation not in (0, self._rotation):
            self._rotation, self._orientation = rotation, _orientation(frame)
        return self._orientation.laid(picture)


def _orientation(frame: Any) -> Orientation:
    try:
        data = frame.side_data.get(DISPLAY_MATRIX)
    except ValueError:  # the frame has side data of a kind that PyAV has no name for
        return Orientation.of_angle(frame.rotation)
    if data is None or len(bytes(data)) < MATRIX_BYTES:
        return STORED
    return Orientation.of_matrix(np.frombuffer(bytes(data)[:MATRIX_BYTES], dtype=np.int32))
