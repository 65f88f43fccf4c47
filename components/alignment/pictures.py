"""Numbered pictures on the clip's clock: crops of a face that a corpus brings, one per frame, with holes.

Picture k is the crop of the k-th frame, so its time is that of the frame, whatever its place in the folder's list.
The pictures are the faces: no detector runs on them. A step takes the picture of the frame at its centre or, where that
is missing or broken, the nearest other picture of the same step; a step without any has no face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.alignment.faces.face import Faces, Picture, crop_jpeg
from components.contracts.codes import Code
from components.contracts.config import FaceAlignment, MediaLimits
from components.contracts.errors import MediaError
from components.contracts.timebase import STEP_SLACK, Grid
from components.media.clocks.clock import NO_FRAME, frames_of_steps
from components.media.numbered import numbered_pictures
from components.media.probe import check_file
from components.media.scan import Pictures

FORMATS = ("JPEG", "PNG")
Crop = tuple[bytes, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """The pictures of a folder and their clock.

    Attributes:
        files: number, counted from 1 → file.
        clock: when the frames 1 … N are shown, whether their picture exists or not.
        beyond: pictures with a number above N; the video has no such frame.
    """

    files: Mapping[int, Path]
    clock: Pictures
    beyond: int = 0


def read_numbered(
    folder: Path, rate_hz: float | None, video: Pictures | None, limits: MediaLimits, *, where: str
) -> Numbered:
    """Lists a folder and gives each number its time; does not read the pictures.

    Args:
        folder: of numbered pictures.
        rate_hz: frames per second, used without a video.
        video: the frames that the pictures were cut from.
        limits: bounds of the clip's size and frame count.
        where: the clip, for messages.

    Raises:
        MediaError: as `datasets.numbered.numbered_pictures`, and `too-many-frames`, `frame-rate`, `no-rate`.
    """
    files = numbered_pictures(folder)
    last = max(files)
    # A name of nine digits must not make a clock of a billion frames.
    if last > limits.max_decoded_frames:
        raise _refused(
            "the clip has too many pictures", where, f"a picture {last}", f"at most {limits.max_decoded_frames}",
            code=Code.TOO_MANY_FRAMES,
        )  # fmt: skip
    if video is not None:
        shown = {number: path for number, path in files.items() if number <= video.times_s.size}
        return Numbered(files=shown, clock=video, beyond=len(files) - len(shown))
    if rate_hz is None:
        raise _refused("the pictures have no times", where, "no video, no rate", "one of them", Code.NO_RATE)
    if not 0 < rate_hz <= limits.max_frame_rate_hz:
        allowed = f"above 0, at most {limits.max_frame_rate_hz:g} frames/s"
        raise _refused("this is not a frame rate", where, f"{rate_hz:g} frames/s", allowed, Code.FRAME_RATE)
    times_s = np.arange(last, dtype=np.float64) / rate_hz
    return Numbered(files=files, clock=Pictures(times_s=times_s, end_s=last / rate_hz, declared_end_s=None))


def faces_of(
    numbered: Numbered, grid: Grid, *, origin_s: float, duration_s: float, config: FaceAlignment, limits: MediaLimits
) -> tuple[Faces, list[str]]:
    """The face of every step, and notes for a person.

    Args:
        numbered: the pictures.
        grid: T steps.
        origin_s: the clip's zero on the pictures' clock.
        duration_s: of the clip.
        config: the size and quality of a crop.
        limits: bounds of a picture's size.
    """
    times_s = numbered.clock.times_s - origin_s
    frame_of_step = frames_of_steps(times_s, numbered.clock.end_s - origin_s, grid, duration_s)
    reader = _PictureReader(numbered.files, config, limits)
    box = np.full((grid.num_steps, 4), np.nan, dtype=np.float32)
    jpeg: list[bytes | None] = [None] * grid.num_steps
    for step, frame in enumerate(frame_of_step):
        if frame != NO_FRAME:
            crops = map(reader.crop, _order(int(frame), step, times_s, grid))
            jpeg[step], box[step] = next(filter(None, crops), (None, np.nan))
    faces = Faces(jpeg=tuple(jpeg), box=box, others=0)
    return faces, _notes(numbered, reader.damaged, int(np.sum((frame_of_step != NO_FRAME) & ~faces.mask)), grid)


def read_picture(path: Path, limits: MediaLimits) -> Picture | None:
    """A picture as (H, W, 3) uint8 RGB, or None where the file is not a complete picture or exceeds the limits."""
    try:
        check_file(path, max_bytes=limits.max_bytes, where=path.name)
        with Image.open(path, formats=FORMATS) as image:  # reads the head only
            if max(image.size) > limits.max_side_px:
                return None
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except Exception:  # decoders raise nearly anything on a broken file, and one picture never ends a clip
        return None


class _PictureReader:
    """Crops by number, each read once."""

    def __init__(self, files: Mapping[int, Path], config: FaceAlignment, limits: MediaLimits) -> None:
        self._files = files
        self._config = config.model_copy(update={"detector": "whole_frame"})
        self._limits = limits
        self._crops: dict[int, Crop | None] = {}
        self.damaged = 0

    def crop(self, number: int) -> Crop | None:
        """The crop of a picture and its box; None where it is missing, broken or shows nothing."""
        if number not in self._files:
            return None
        if number not in self._crops:
            self._crops[number] = self._read(self._files[number])
        return self._crops[number]

    def _read(self, path: Path) -> Crop | None:
        picture = read_picture(path, self._limits)
        if picture is None:
            self.damaged += 1
            return None
        height, width = picture.shape[:2]
        whole = np.array([0, 0, width, height], dtype=np.float32)
        data = crop_jpeg(picture, whole, self._config)
        return None if data is None else (data, whole)


def _order(frame: int, step: int, times_s: NDArray[np.float64], grid: Grid) -> list[int]:
    """The numbers of the pictures that may serve a step, the best first."""
    start_s, end_s = step / grid.rate_hz, (step + 1) / grid.rate_hz
    first, last = np.searchsorted(times_s, [start_s - STEP_SLACK, end_s - STEP_SLACK])
    others = sorted(range(int(first), int(last)), key=lambda other: abs(times_s[other] - (start_s + end_s) / 2))
    return [frame + 1, *(other + 1 for other in others if other != frame)]


def _notes(numbered: Numbered, damaged: int, without: int, grid: Grid) -> list[str]:
    notes = []
    if numbered.beyond:
        notes.append(f"{numbered.beyond} pictures are numbered beyond the last frame of the video")
    if damaged:
        notes.append(f"{damaged} damaged pictures left out")
    if without:
        notes.append(f"no picture of the face for {without / grid.rate_hz:.1f} s")
    return notes


def _refused(what: str, where: str, seen: str, allowed: str, code: Code) -> MediaError:
    return MediaError(
        what,
        where=where,
        seen=seen,
        allowed=allowed,
        remedy="Give the clip its video or the rate of its pictures, or raise the limits",
        code=code,
    )
