"""Where a picture lies on the clip's canvas, so that faces of pictures of different sizes can be compared.

Calls and recordings of the web change the picture's size when the connection does, and its shape when a phone is
turned. A player shows all of it on one canvas. The canvas here has the size of the clip's first picture, boxes are in
its pixels, and crops are still cut from the picture itself, at its own resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAME_SHAPE = 0.02  # sizes of the same shape are whole pixels, so their ratios differ by about this (426x240, 1280x720)

Box = NDArray[np.float32]
Size = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """A picture centred on the canvas, as large as it goes there: picture = canvas * `scale` + `shift`, in pixels."""

    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, size: Size, canvas: Size) -> Fit:
        """The fit of a picture of a (width, height) on a canvas of one."""
        scale = size[0] / canvas[0]
        if abs(size[1] - canvas[1] * scale) <= max(1.0, SAME_SHAPE * size[1]):
            return cls(scale)
        scale = max(scale, size[1] / canvas[1])
        return cls(scale, ((size[0] - canvas[0] * scale) / 2, (size[1] - canvas[1] * scale) / 2))

    def to_picture(self, box: Box) -> Box:
        """A box (4,) of the canvas in pixels of the picture."""
        scaled = box * np.float32(self.scale)
        return scaled if self.shift == (0.0, 0.0) else scaled + np.array(self.shift * 2, dtype=np.float32)

    def to_canvas(self, box: Box) -> Box:
        """A box (4,) of the picture in whole pixels of the canvas."""
        if self == Fit():
            return box
        shifted = box - np.array(self.shift * 2, dtype=np.float32)
        return np.asarray(np.rint(shifted / np.float32(self.scale)), dtype=np.float32)
