"""Picture files: a photograph is one moment, an animation (GIF, WebP, APNG) shows its pictures by its own clock.

They are decoded by Pillow, under the limits of all media and in the same guarded process. Pillow rather than FFmpeg,
since it reads what viewers show in all of these formats: the orientation of a camera's EXIF, pictures on a transparent
ground, animated WebP, arithmetic coding.
"""

from __future__ import annotations

import struct
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.probe import check_file, image_format
from components.media.source import out_of_memory, too_long, too_many_frames, too_slow
from components.media.upright import STORED, Orientation, glance_size

# A photograph is decoded once, a video's pictures by the hundred: it may be this many times as large, and is shrunk.
LARGER = 2
ORIENTATION_TAG = 0x0112
# How a picture is stored (EXIF 2.32, section 4.6.4 A) → how it is laid to be upright.
ORIENTATIONS = {
    2: Orientation(columns_reversed=True),
    3: Orientation(rows_reversed=True, columns_reversed=True),
    4: Orientation(rows_reversed=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, columns_reversed=True),
    7: Orientation(transposed=True, rows_reversed=True, columns_reversed=True),
    8: Orientation(transposed=True, rows_reversed=True),
}
NEXT_JPEG = b"\xff\xd9\xff\xd8\xff"  # the end of a picture and the beginning of the next (ITU-T T.81, table B.1)
GROUND = (255, 255, 255)  # white behind a transparent picture, as on a page
WIDE = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})  # 16 bits of grey
SHORTEST_MS, USUAL_MS = 10.0, 100.0  # browsers show a picture of a shorter time than the first for the second
MS_PER_S = 1000.0
# What Pillow raises on damaged files.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)


@dataclass(frozen=True, kw_only=True)
class ImageTimes:
    """When each picture of a file is shown (N,), and when the last one ends; a photograph is shown at 0 alone."""

    times_s: NDArray[np.float64]
    end_s: float

    @property
    def is_still(self) -> bool:
        """Whether this is one moment."""
        return self.times_s.size == 1


def jpeg_of(picture: NDArray[np.uint8], quality: int) -> bytes:
    """A picture (H, W, 3) in RGB as a JPEG; `quality` is that of libjpeg, 0 to 100."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    data: bytes = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return data


def image_times(path: Path, limits: MediaLimits, *, where: str) -> ImageTimes:
    """The times of a file's pictures. Of a photograph only the head is read.

    Raises:
        MediaError: as `probe.check_file`, and `not-media`, `picture-size`, `too-many-frames`, `too-long`, `too-slow`,
            `memory`.
    """
    times_s, end_s = [], 0.0
    with _opened(path, limits, where) as image:
        if not _moves(image):
            return ImageTimes(times_s=np.zeros(1), end_s=0.0)
        for start_s, end_s in _moments(image, limits, where):
            times_s.append(start_s)
            if end_s > limits.max_duration_s:
                raise too_long(end_s, limits, where)
    return ImageTimes(times_s=np.array(times_s), end_s=end_s)


def image_pictures(
    path: Path,
    requested_s: NDArray[np.float64],
    limits: MediaLimits,
    *,
    where: str,
    glance: Callable[[float, NDArray[np.uint8]], None] | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Some pictures of a file, upright and in RGB.

    Args:
        path: the file.
        requested_s: (M,) some of the times that `image_times` returned, ascending.
        limits: bounds of memory, size, time and frame count.
        where: the clip, for messages.
        glance: called with the time and the brightness (h, w), shrunk, of every picture up to the last requested one,
            before that is yielded.

    Yields:
        (index into `requested_s`, (H, W, 3) uint8 RGB).

    Raises:
        MediaError: as `image_times`, and `truncated`.
    """
    index_of = {float(at_s): index for index, at_s in enumerate(requested_s)}
    with _opened(path, limits, where) as image:
        upright = _orientation(image)
        for at_s, _ in _moments(image, limits, where):
            if at_s > requested_s[-1]:
                return
            if at_s in index_of or glance is not None:
                rgb = upright.laid(_rgb(image, limits))
                if glance is not None:
                    glance(at_s, _small(rgb))
                if at_s in index_of:
                    yield index_of[at_s], rgb


@contextmanager
def _opened(path: Path, limits: MediaLimits, where: str) -> Iterator[Any]:
    """The file as a Pillow image within the limits; no pixel is decoded yet."""
    check_file(path, max_bytes=limits.max_bytes, where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limits say what is too large
            image = Image.open(path, formats=[image_format(path) or ""])
        with image:
            _check_size(image, limits, where)
            _check_clock(path, image, where)
            yield image
    except MemoryError as error:
        raise out_of_memory(limits, where) from error
    except Image.DecompressionBombError as error:
        raise _too_large(str(error), limits, where) from error
    except DAMAGED as error:
        raise _unread(path, error, where) from error


def _moves(image: Any) -> bool:
    # A JPEG of several pictures holds views or sizes of one moment (CIPA DC-007).
    return image.format in ("GIF", "WEBP", "PNG") and getattr(image, "n_frames", 1) > 1


def _moments(image: Any, limits: MediaLimits, where: str) -> Iterator[tuple[float, float]]:
    """From when to when each picture is shown; the image is at it. A photograph ends as it begins."""
    if not _moves(image):
        _shrink(image, limits)
        yield 0.0, 0.0
        return
    if image.n_frames > limits.max_decoded_frames:
        raise too_many_frames(limits, where)
    until_s = time.thread_time() + limits.max_work_s
    start_s = 0.0
    # The picture for viewers without APNG need not be part of the animation.
    for number in range(int(bool(image.info.get("default_image"))), image.n_frames):
        image.seek(number)
        image.load()  # with the time of this picture
        if time.thread_time() > until_s:
            raise too_slow(limits, where)
        stated_ms = float(image.info.get("duration") or 0.0)
        end_s = start_s + (stated_ms if stated_ms > SHORTEST_MS else USUAL_MS) / MS_PER_S
        yield start_s, end_s
        start_s = end_s


def _shrink(image: Any, limits: MediaLimits) -> None:
    """Lets a JPEG beyond the longest side be decoded at a fraction of its size, which costs less of everything."""
    factor = _factor(image.size, limits)
    if factor > 1:
        image.draft(None, (image.size[0] // factor, image.size[1] // factor))


def _factor(size: tuple[int, int], limits: MediaLimits) -> int:
    return -(-max(size) // limits.max_side_px)


def _rgb(image: Any, limits: MediaLimits) -> NDArray[np.uint8]:
    if image.mode in WIDE:
        grey = np.asarray(image).astype(np.uint32)
        image = Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
    factor = _factor(image.size, limits)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*GROUND, 255))
        ground.alpha_composite(image)
        image = ground
    image = image.convert("RGB")
    return np.asarray(image.reduce(factor) if factor > 1 else image, dtype=np.uint8)


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, glance_size(*grey.shape[::-1]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _orientation(image: Any) -> Orientation:
    try:
        return ORIENTATIONS.get(int(image.getexif().get(ORIENTATION_TAG, 1)), STORED)
    except Exception:  # a camera's notes may be damaged in any way, and the picture is not
        return STORED


def _check_size(image: Any, limits: MediaLimits, where: str) -> None:
    longest = limits.max_side_px * (1 if _moves(image) else LARGER)
    if not 0 < min(image.size) <= max(image.size) <= longest:
        raise _too_large(f"{image.size[0]}x{image.size[1]}", limits, where)


def _check_clock(path: Path, image: Any, where: str) -> None:
    """Refuses JPEG pictures put end to end: a video whose rate nobody wrote down."""
    if image.format != "JPEG":
        return
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
        # A single one that follows is a second view or a map of depth, which phones append.
        second = content.find(NEXT_JPEG)
        if second < 0 or content.find(NEXT_JPEG, second + 1) < 0:
            return
    raise MediaError(
        "this is motion JPEG without a clock",
        where=where,
        seen="JPEG pictures end to end",
        allowed="a photograph, or motion JPEG in avi, mov or mkv",
        remedy="Put it into a container with its rate: ffmpeg -framerate 25 -i FILE -c copy clip.mkv",
        code=Code.NOT_MEDIA,
    )


def _too_large(seen: str, limits: MediaLimits, where: str) -> MediaError:
    return MediaError(
        "the picture is too large",
        where=where,
        seen=seen,
        allowed=f"at most {limits.max_side_px} pixels per side, {LARGER * limits.max_side_px} of a photograph",
        remedy="Save it at a smaller size, or raise the max_side_px of the limits",
        code=Code.PICTURE_SIZE,
    )


def _unread(path: Path, error: Exception, where: str) -> MediaError:
    cut_off = "truncated" in str(error).lower()
    return MediaError(
        f"the picture {path.name!r} is cut off" if cut_off else f"{path.name!r} cannot be read as a picture",
        where=where,
        seen="the first bytes of a picture, and no picture" if str(path) in str(error) else str(error),
        allowed="a complete JPEG, PNG, WebP or GIF",
        remedy="Look at it in a viewer: if it is whole there, save it anew as JPEG or PNG; else copy it again",
        code=Code.TRUNCATED if cut_off else Code.NOT_MEDIA,
    )
