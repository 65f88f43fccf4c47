"""The part of the pictures in which a clip's person is: what lies outside is cut off before anything looks at it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.face import Faces, Picture
from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.contracts.records import Clip

WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Crop:
    """A part of a picture, as `Clip.crop` gives it, and where its upper left corner lies in the first one, (2,)."""

    share: tuple[float, float, float, float]
    corner: NDArray[np.float32]

    @classmethod
    def of(cls, clip: Clip) -> Crop:
        """The clip's crop. Raises MediaError (`bad-crop`) where it is not a part of a picture."""
        x0, y0, x1, y1 = share = clip.crop or WHOLE
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise MediaError(
                "the clip's crop is not a part of a picture",
                where=clip.clip_id,
                seen=", ".join(f"{edge:g}" for edge in share),
                allowed="x0, y0, x1, y1 as shares from 0 to 1, x0 < x1, y0 < y1",
                remedy="Mend the crop in the corpus's table, or leave it out",
                code=Code.BAD_CROP,
            )
        return cls(share, np.full(2, 0.0 if share == WHOLE else np.nan, dtype=np.float32))

    def cut(self, picture: Picture, steps: list[int]) -> Picture:
        """The part of the (H, W, 3) picture that the steps show; at least a pixel."""
        if self.share == WHOLE:
            return picture
        height, width = picture.shape[:2]
        x0, y0 = min(round(self.share[0] * width), width - 1), min(round(self.share[1] * height), height - 1)
        x1, y1 = max(round(self.share[2] * width), x0 + 1), max(round(self.share[3] * height), y0 + 1)
        if steps and np.isnan(self.corner).any():  # boxes are in pixels of the first picture (`fit.py`)
            self.corner[:] = x0, y0
        return np.ascontiguousarray(picture[y0:y1, x0:x1])

    def placed(self, faces: Faces) -> Faces:
        """Faces found in the part, with boxes in pixels of the whole picture, whose size is not known of a part."""
        canvas = faces.canvas if self.share == WHOLE else None
        return replace(faces, box=faces.box + np.tile(self.corner, 2), canvas=canvas)
