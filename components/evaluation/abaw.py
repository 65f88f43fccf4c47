"""A submission to the expression challenge of ABAW: a class for every frame of its list, in the list's order.

    image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other
    video/00001.jpg,4

The list itself has such lines (the part after the name is ignored), or the name of a video alone, which stands for all
of its frames. A frame is identified by the number in its file name, not by its position among the existing crops.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.errors import DataError, ModelError
from components.contracts.timebase import STEP_SLACK

# The challenge's name of a class → ours, in the order of the challenge's numbers.
CLASSES: Mapping[str, str] = {
    "Neutral": "neutral",
    "Anger": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happiness": "happiness",
    "Sadness": "sadness",
    "Surprise": "surprise",
    "Other": "other",
}
LOCATION = "image_location"
HEADER = ",".join((LOCATION, *CLASSES))
FRAME = re.compile(r"([^/]+)/0*([1-9][0-9]{0,8})\.(?:jpg|jpeg|png)")
VIDEO = re.compile(r"([^/]+?)(?:\.(?:mp4|avi|txt))?")


@dataclass(frozen=True, kw_only=True)
class RequestedFrames:
    """One line of the list: a frame, counted from 1, or with None all frames of the video."""

    video: str
    frame: int | None


@dataclass(frozen=True, kw_only=True)
class VideoClasses:
    """The classes of a video's frames, and whether each has evidence of its own.

    Attributes:
        classes: (N,) the challenge's number of the class of frames 1 … N.
        borrowed: (N,) True where no modality of the person is valid: the class is that of the nearest moment at which
            one is.
    """

    classes: NDArray[np.int64]
    borrowed: NDArray[np.bool_]


def read_list(text: str, *, where: str) -> list[RequestedFrames]:
    """The frames of a list, in its order.

    Raises:
        DataError: a line is neither a frame nor a video; the list is empty.
    """
    requested = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        name = line.partition(",")[0].strip()
        if not name or (number == 1 and name == LOCATION):
            continue
        frame, video = FRAME.fullmatch(name), VIDEO.fullmatch(name)
        if frame:
            requested.append(RequestedFrames(video=frame.group(1), frame=int(frame.group(2))))
        elif video:
            requested.append(RequestedFrames(video=video.group(1), frame=None))
        else:
            raise _bad_list(f"{where} line {number}", name[:80])
    if not requested:
        raise _bad_list(where, "no frames")
    return requested


def order_of(classes: Sequence[str]) -> list[int]:
    """The indices of the challenge's classes among a model's. Raises ModelError when those are not the same eight."""
    if sorted(classes) != sorted(CLASSES.values()):
        raise ModelError(
            "this version does not have the classes of the challenge",
            where="labels.taxonomy",
            seen=", ".join(classes),
            allowed=", ".join(CLASSES.values()),
            remedy="Train with `labels: {taxonomy: abaw8}`",
        )
    return [list(classes).index(name) for name in CLASSES.values()]


def judge(
    times_s: NDArray[np.float64],
    posterior: NDArray[np.floating],
    valid: NDArray[np.bool_],
    *,
    rate_hz: float,
    classes: Sequence[str],
) -> VideoClasses:
    """The class of each frame: the most probable one of the step that the frame lies in.

    Args:
        times_s: (N,) presentation times of the frames, on the clip's clock.
        posterior: (T, K) of the clip's steps.
        valid: (T,) True where any modality is valid; other steps take the class of the nearest valid one.
        rate_hz: steps per second.
        classes: the names of the K classes.

    Raises:
        ModelError: as `order_of`.
        DataError: no step is valid.
    """
    order = order_of(classes)
    observed = np.nonzero(valid)[0]
    if not observed.size:
        raise DataError("no modality of the person is valid at any moment", code=Code.NOTHING_TO_JUDGE)
    steps = np.floor(times_s * rate_hz + STEP_SLACK).astype(np.int64).clip(0, len(posterior) - 1)
    after = np.searchsorted(observed, steps).clip(0, observed.size - 1)
    before = (after - 1).clip(0)
    nearest = np.where(steps - observed[before] <= observed[after] - steps, observed[before], observed[after])
    chosen = np.where(valid[steps], steps, nearest)
    return VideoClasses(classes=posterior[:, order].argmax(axis=1)[chosen], borrowed=~valid[steps])


def rows(
    requested: Iterable[RequestedFrames], judged: Mapping[str, VideoClasses], counts: Counter[str]
) -> Iterator[str]:
    """The lines of the submission, header first; `counts` counts frames, and those without a class of their own.

    A frame numbered beyond the video's last gets the class of the last one.
    """
    yield HEADER
    for request in requested:
        answer = judged[request.video]
        last = answer.classes.size
        for number in range(1, last + 1) if request.frame is None else (request.frame,):
            index = min(number, last) - 1
            counts["frames"] += 1
            counts["beyond the video's last frame, with the class of the last one"] += number > last
            counts["without evidence, with the class of the nearest moment"] += bool(answer.borrowed[index])
            yield f"{request.video}/{number:05d}.jpg,{answer.classes[index]}"


def _bad_list(where: str, seen: str) -> DataError:
    return DataError(
        "not a list of frames to judge",
        where=where,
        seen=seen,
        allowed="lines such as video/00001.jpg, or the names of videos",
        remedy="Take the list that came with the challenge's test set",
        code=Code.BAD_LIST,
    )
