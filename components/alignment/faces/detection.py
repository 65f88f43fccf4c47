"""One detected face. Apart from the detector, so that alignment without one (`whole_frame`) does not load torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One face: `box` (4,) float32 x0, y0, x1, y1 in pixels, and the confidence of the O net."""

    box: Boxes
    confidence: float

    @property
    def side_px(self) -> float:
        """The longer side of the box."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


def overlap(box: Boxes, others: Boxes, *, of_smaller: bool = False) -> NDArray[np.float32]:
    """Intersection of `box` (4,) with each of `others` (N, 4) over their union (IoU), or over the smaller one."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    area = float(np.prod(np.maximum(box[2:] - box[:2], 0)))
    areas = np.prod(np.maximum(others[:, 2:] - others[:, :2], 0), axis=1)
    whole = np.minimum(area, areas) if of_smaller else area + areas - common
    return np.asarray(common / np.maximum(whole, 1e-9), dtype=np.float32)
