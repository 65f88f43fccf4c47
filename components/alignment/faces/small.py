"""Small faces: a finer look at a few pictures of a clip in whose pictures the usual look finds no face at all.

Faces are looked for in pictures shrunk to `detect_side_px`, which is fast and loses those below `min_face_px` there:
192 px in 1080p at the defaults. A clip with any face is never looked at again. Where there is none, LOOKS pictures
spread over the clip are shrunk to `fine_side_px` only. If faces appear in at least two of them (textures rarely look
like a face twice), the clip is decoded once more and followed at the size at which the smallest of them is found with
some room (HEADROOM), since the cost of a look grows with the area; else a note names the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from components.alignment.faces.face import MIN_CONTRAST, Detector, Picture, detect_scaled
from components.contracts.config import FaceAlignment

LOOKS = 8
MIN_SEEN = 2
HEADROOM = 0.75  # a face followed may shrink to this share of the smallest one seen in the looks


def looks_again(longer_px: int, config: FaceAlignment) -> bool:
    """Whether a finer look sees more in pictures of this longer side than the usual one."""
    return config.detect_side_px < min(longer_px, config.fine_side_px)


def limit_px(longer_px: int, side_px: int, config: FaceAlignment) -> int:
    """The smallest face that is found in pictures of a longer side, shrunk to `side_px`, in pixels."""
    return math.ceil(config.min_face_px * max(1.0, longer_px / side_px))


def spread(count: int) -> list[int]:
    """LOOKS of `count` pictures, evenly spread, neither the very first nor the very last."""
    looks = min(count, LOOKS)
    return [(2 * look + 1) * count // (2 * looks) for look in range(looks)]


def fitting_side(pictures: Iterable[Picture], detector: Detector, config: FaceAlignment) -> int | None:
    """The longer side to which a clip's pictures should be shrunk for its small faces; None where it shows none.

    Args:
        pictures: up to LOOKS pictures (H, W, 3) of the clip.
        detector: of the clip.
        config: of the stage. Cost: about 0.3 s per picture for 1080p and the default `fine_side_px`.
    """
    sides, count = [], 0
    for picture in pictures:
        count += 1
        if float(picture.std()) < MIN_CONTRAST:
            continue
        faces = detect_scaled(detector, picture, config.fine_side_px)
        if faces:
            share = max(face.side_px for face in faces) / max(picture.shape[:2])
            sides.append(math.ceil(config.min_face_px / (HEADROOM * share)))
    if not sides or len(sides) < min(MIN_SEEN, count):
        return None
    return int(np.clip(max(sides), config.detect_side_px, config.fine_side_px))
