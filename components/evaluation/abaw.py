"""A submission to the expression challenge of ABAW: a class for every frame that its list names, in the list's order.

    image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other
    video/00001.jpg,4

The list has such lines itself (whatever follows the name does not count), or a video's name alone, which stands for all
of its frames. A frame is the one that its file name counts, not the place that it has among the crops that are there.
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

# The challenge's name of a class, in the order of its numbers → ours.
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
class Wanted:
    """A frame that the list names, counted from 1; None: all frames of the video."""

    video: str
    frame: int | None


@dataclass(frozen=True, kw_only=True)
class VideoClasses:
    """The classes of a video's frames, and how sure that is to begin with.

    Attributes:
        classes: (N,) the challenge's number of the class of frames 1 … N.
        borrowed: (N,) True where nothing of the person was seen or heard: the class is that of the nearest moment at
            which something was.
    """

    classes: NDArray[np.int64]
    borrowed: NDArray[np.bool_]


def read_list(text: str, *, where: str) -> list[Wanted]:
    """The frames that a list names, in its order.

    Raises:
        DataError: a line is neither; nothing is named.
    """
    wanted = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        name = line.partition(",")[0].strip()
        if not name or (number == 1 and name == LOCATION):
            continue
        frame, video = FRAME.fullmatch(name), VIDEO.fullmatch(name)
        if frame:
            wanted.append(Wanted(video=frame.group(1), frame=int(frame.group(2))))
        elif video:
            wanted.append(Wanted(video=video.group(1), frame=None))
        else:
            raise _bad_list(f"{where} line {number}", name[:80])
    if not wanted:
        raise _bad_list(where, "no frames")
    return wanted


def order_of(classes: Sequence[str]) -> list[int]:
    """Where the challenge's classes stand among a model's. Raises ModelError when those are not the same eight."""
    if sorted(classes) != sorted(CLASSES.values()):
        raise ModelError(
            "this version does not tell the challenge's classes apart",
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
        times_s: (N,) when the frames are shown, on the clip's clock.
        posterior: (T, K) of the clip's steps.
        valid: (T,) True where any modality was there; other steps say nothing, and the nearest one that does answers.
        rate_hz: steps a second.
        classes: the names of the K classes.

    Raises:
        ModelError: as `order_of`.
        DataError: no step is valid.
    """
    order = order_of(classes)
    there = np.nonzero(valid)[0]
    if not there.size:
        raise DataError("nothing of the person is seen or heard at any moment", code=Code.NOTHING_TO_JUDGE)
    steps = np.floor(times_s * rate_hz + STEP_SLACK).astype(np.int64).clip(0, len(posterior) - 1)
    after = np.searchsorted(there, steps).clip(0, there.size - 1)
    before = (after - 1).clip(0)
    nearest = np.where(steps - there[before] <= there[after] - steps, there[before], there[after])
    chosen = np.where(valid[steps], steps, nearest)
    return VideoClasses(classes=posterior[:, order].argmax(axis=1)[chosen], borrowed=~valid[steps])


def rows(wanted: Iterable[Wanted], judged: Mapping[str, VideoClasses], counts: Counter[str]) -> Iterator[str]:
    """The lines of the submission, header first; `counts` notes what is not a plain answer.

    A frame that is numbered beyond the video's last has the last one's class.
    """
    yield HEADER
    for one in wanted:
        found = judged[one.video]
        last = found.classes.size
        for number in range(1, last + 1) if one.frame is None else (one.frame,):
            index = min(number, last) - 1
            counts["frames"] += 1
            counts["beyond the video's last frame: the last one's class"] += number > last
            counts["nobody seen or heard: the nearest moment's class"] += bool(found.borrowed[index])
            yield f"{one.video}/{number:05d}.jpg,{found.classes[index]}"


def _bad_list(where: str, seen: str) -> DataError:
    return DataError(
        "this is no list of frames to judge",
        where=where,
        seen=seen,
        allowed="lines such as video/00001.jpg, or the names of videos",
        remedy="Take the list that came with the challenge's test set",
        code=Code.BAD_LIST,
    )
