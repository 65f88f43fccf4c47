"""What the face encoders share: the crops of a clip as pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip
from components.features.base import mask_of


def valid_steps(clip: AlignedClip) -> NDArray[np.int64]:
    """The steps that have a valid face and a crop, ascending."""
    mask = mask_of(clip, "face")
    return np.array([step for step, jpeg in enumerate(clip.face_jpeg) if mask[step] and jpeg], dtype=np.int64)


def grey_crops(clip: AlignedClip, steps: NDArray[np.int64], side_px: int) -> NDArray[np.uint8]:
    """Grey crops (n, side_px, side_px) of some steps."""
    return np.stack([_resized(_decode(clip, step, cv2.IMREAD_GRAYSCALE), side_px) for step in steps.tolist()])


def rgb_crops(clip: AlignedClip, steps: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """RGB crops (side, side, 3) of some steps, at the size they are stored in."""
    return [np.ascontiguousarray(_decode(clip, step, cv2.IMREAD_COLOR)[:, :, ::-1]) for step in steps.tolist()]


def _decode(clip: AlignedClip, step: int, flags: int) -> NDArray[np.uint8]:
    """One stored crop as pixels. Raises MediaError if its bytes are not a picture."""
    picture = cv2.imdecode(np.frombuffer(clip.face_jpeg[step] or b"", dtype=np.uint8), flags)
    if picture is None:
        raise MediaError("a face crop is not a picture", where=f"{clip.clip_id}, step {step}", remedy="Align it again")
    return np.asarray(picture, dtype=np.uint8)


def _resized(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A picture as a square; averaged over areas when it shrinks, so that nothing aliases."""
    interpolation = cv2.INTER_AREA if picture.shape[0] > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=interpolation), dtype=np.uint8)
