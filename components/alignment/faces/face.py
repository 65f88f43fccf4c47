"""One face through a clip: detection now and then, tracks in between, a square crop for every step that has one.

Pictures arrive one by one and are let go again: between two detections the pictures of the steps are kept, and as soon
as the later detection is known every live track is cropped on them with a box interpolated in time. Where a face was
seen at one detection and not at the other, the pictures between are searched by halves for the moment it came or went.
Small grey versions of all pictures, also of those that no step asked for, are kept as long, and give what the mouths do
(`lips.py`).

At the end one person is chosen: the one whose mouth moves with the sound (`speaker.py`), where there is speech and one
stands out, else the one that was seen longest, largest and most centrally. Where that person has no box the step stays
without a face.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.detection import Detection
from components.alignment.faces.envelope import Envelope
from components.alignment.faces.fit import Fit, Size
from components.alignment.faces.lips import Grey, Lips, mouth_of
from components.alignment.faces.speaker import find_speaker
from components.alignment.faces.tracks import Box, Track, associated, persons, same_face, weight
from components.contracts.config import FaceAlignment
from components.media.images import jpeg_of

MAX_TRACKED = 4  # faces followed at once; bounds memory in a crowd
MAX_GLANCES = 256  # small grey pictures kept at once: 4 s at 60 frames/s, and at most 26 MB
MIN_SHARE = 0.5  # of the steps of the person seen longest; people seen for less are not considered as speakers
MIN_CONTRAST = 2.0  # grey levels; a crop flatter than this is a black or broken picture, not a face
TIME_SLACK_S = 1e-6

Picture = NDArray[np.uint8]


class Detector(Protocol):
    """Finds faces in an (H, W, 3) RGB picture; boxes in its pixels."""

    def detect(self, rgb: Picture) -> list[Detection]:
        """The faces, most confident first."""
        ...


class WholeFrame:
    """For corpora whose pictures are face crops already: the face is the picture."""

    def detect(self, rgb: Picture) -> list[Detection]:
        """One detection that covers the picture."""
        height, width = rgb.shape[:2]
        return [Detection(box=np.array([0, 0, width, height], dtype=np.float32), confidence=1.0)]


def create_detector(config: FaceAlignment) -> Detector:
    """The detector that the configuration names. Raises UnavailableError if its weights are not installed."""
    if config.detector == "whole_frame":
        return WholeFrame()
    from components.alignment.faces.mtcnn import Mtcnn  # with torch, seconds of imports

    return Mtcnn(min_face_px=config.min_face_px, min_confidence=config.min_confidence)


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The chosen face on the grid: T JPEG crops or None, (T, 4) boxes in picture pixels or NaN; `others` counts
    the people who were seen and not chosen, `why` says why this one was, `lips` what its mouth does. Boxes are in
    pixels of the clip's first picture, whose width and height `canvas` is; None without a picture, or not known."""

    jpeg: tuple[bytes | None, ...]
    box: NDArray[np.float32]
    others: int
    why: str | None = None
    lips: Lips | None = None
    canvas: Size | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(T,) True where there is a face."""
        return np.array([jpeg is not None for jpeg in self.jpeg], dtype=bool)


@dataclass
class _Kept:
    time_s: float
    steps: tuple[int, ...]
    picture: Picture
    fit: Fit
    found: list[Detection] | None = None


@dataclass(frozen=True)
class _Seen:
    """A face at a moment."""

    time_s: float
    box: Box


class FaceTracker:
    """Collects the faces of one clip; pictures are added in the order of time."""

    def __init__(self, config: FaceAlignment, detector: Detector, *, num_steps: int, rate_hz: float) -> None:
        self.config = config
        self.detector = detector
        self._rate_hz = rate_hz
        self._num_steps = num_steps
        self._every_steps = max(1, round(config.detect_every_s * rate_hz))
        self._due_step = 0
        self._tracks: list[Track] = []
        self._kept: list[_Kept] = []
        self._glances: deque[tuple[float, Grey]] = deque(maxlen=MAX_GLANCES)
        self._undetected: _Kept | None = None
        self._detected_s = -np.inf
        self._canvas: Size | None = None
        self._fit = Fit()

    def finer(self, side_px: int) -> FaceTracker:
        """A new tracker of the same clip that looks for faces in pictures of this longer side."""
        config = self.config.model_copy(update={"detect_side_px": side_px})
        return FaceTracker(config, self.detector, num_steps=self._num_steps, rate_hz=self._rate_hz)

    def glance(self, time_s: float, grey: Grey) -> None:
        """Adds a small grey version (h, w) of any picture, before `add` of the same one; for the mouths alone."""
        self._glances.append((time_s, grey))

    def add(self, time_s: float, steps: Sequence[int], picture: Picture) -> None:
        """Adds the picture of one or more steps.

        Args:
            time_s: its time on the clip's clock.
            steps: the steps it serves, ascending.
            picture: (H, W, 3) uint8 RGB.
        """
        size = (picture.shape[1], picture.shape[0])
        self._canvas = self._canvas or size
        kept = _Kept(time_s, tuple(steps), picture, Fit.of(size, self._canvas))
        before = self._undetected
        # Pictures are missing, or the next ones lie elsewhere on the canvas: boxes are known between detections alone.
        breaks = before is not None and time_s - before.time_s > self.config.detect_every_s
        if breaks or kept.fit != self._fit:
            self._due_step = steps[0]
            if before is not None:
                self._detect(before)
        self._fit = kept.fit
        self._kept.append(kept)
        if steps[-1] >= self._due_step:
            self._detect(kept)
            self._due_step = steps[-1] + self._every_steps
            self._undetected = None
        else:
            self._undetected = kept

    def finish(self, sound: Envelope | None = None) -> Faces:
        """Chooses the face of the clip. Call once, after the last picture.

        Args:
            sound: the envelope of the sound where there is speech in it; None where there is none.
        """
        if self._undetected is not None:
            self._detect(self._undetected)  # otherwise the clip's last moments could only be guessed
        people = persons(self._tracks)
        chosen, why = _choice(people, sound)
        box = np.full((self._num_steps, 4), np.nan, dtype=np.float32)
        jpeg: list[bytes | None] = [None] * self._num_steps
        for track in chosen:
            for step, (data, face) in track.crops.items():
                jpeg[step], box[step] = data, face
        return Faces(
            jpeg=tuple(jpeg),
            box=box,
            others=max(len(people) - 1, 0),
            why=why,
            lips=Lips.joined(track.lips for track in chosen) if chosen else None,
            canvas=self._canvas,
        )

    def _detect(self, now: _Kept) -> None:
        width, height = self._canvas or (1, 1)
        gone = {id(track): track for track in self._tracks if track.times_s[-1] == self._detected_s}
        # Pairs first: a new track has no detection yet that another one could be compared with.
        for track, face in associated(self._tracks, self._found(now)[:MAX_TRACKED]):
            gone.pop(id(track), None)
            seen = _Seen(now.time_s, face.box)
            last = _Seen(track.times_s[-1], track.boxes[-1]) if track.times_s else None
            if last is None or seen.time_s - last.time_s > self.config.max_gap_s + TIME_SLACK_S:
                last = self._furthest(seen, reversed(self._between(now)))
                self._fill(track, last or seen, seen, from_first=True)
            else:
                self._fill(track, last, seen, from_first=False)
            track.times_s.append(now.time_s)
            track.boxes.append(face.box)
            track.weight += weight(face, width, height)
        for track in gone.values():
            first = _Seen(track.times_s[-1], track.boxes[-1])
            last = self._furthest(first, self._between(now))
            if last is not None:
                self._fill(track, first, last, from_first=False)
        self._forget(now.time_s)
        self._detected_s = now.time_s

    def _found(self, kept: _Kept) -> list[Detection]:
        """The faces of a picture, largest first; each picture is looked at once."""
        if kept.found is None:
            found = detect_scaled(self.detector, kept.picture, self.config.detect_side_px)
            found = [replace(face, box=kept.fit.to_canvas(face.box)) for face in found]
            kept.found = sorted(found, key=lambda face: -face.side_px)
        return kept.found

    def _between(self, now: _Kept) -> list[_Kept]:
        """The pictures between the detection before and this one."""
        return [kept for kept in self._kept if self._detected_s < kept.time_s < now.time_s]

    def _furthest(self, anchor: _Seen, pictures: Iterable[_Kept]) -> _Seen | None:
        """The last of the pictures, in their order away from `anchor`, in which the face is still seen, by halving."""
        between = list(pictures)
        furthest, low, high = None, 0, len(between)
        box = anchor.box
        while low < high:
            middle = (low + high) // 2
            face = same_face(box, self._found(between[middle]))
            if face is None:
                high = middle
            else:
                low, box = middle + 1, face.box
                furthest = _Seen(between[middle].time_s, face.box)
        return furthest

    def _fill(self, track: Track, first: _Seen, last: _Seen, *, from_first: bool) -> None:
        """Crops a track on the pictures of `(first, last]`, or `[first, last]`, with a box interpolated in time."""

        def box_at(time_s: float) -> Box | None:
            # The clocks of glances and of pictures may differ in the last bits.
            if abs(time_s - last.time_s) <= TIME_SLACK_S:
                return last.box
            begin_s = first.time_s - TIME_SLACK_S if from_first else first.time_s + TIME_SLACK_S
            if not begin_s < time_s < last.time_s:
                return None
            share = np.float32((time_s - first.time_s) / (last.time_s - first.time_s))
            return np.asarray(np.rint(first.box + share * (last.box - first.box)), dtype=np.float32)

        for kept in self._kept:
            box = box_at(kept.time_s)
            data = None if box is None else crop_jpeg(kept.picture, kept.fit.to_picture(box), self.config)
            if box is not None and data is not None:
                track.crops.update(dict.fromkeys(kept.steps, (data, box)))
        if self._canvas is None:
            return
        for time_s, grey in self._glances:
            box = box_at(time_s)
            if box is not None:
                fit = Fit.of((grey.shape[1], grey.shape[0]), self._canvas)
                track.lips.add(time_s, mouth_of(grey, fit.to_picture(box)))

    def _forget(self, now_s: float) -> None:
        """Lets go of the pictures that no track can be cropped on any more."""
        horizon_s = now_s - self.config.max_gap_s - TIME_SLACK_S
        if not any(horizon_s <= track.times_s[-1] < now_s - TIME_SLACK_S for track in self._tracks):
            horizon_s = np.inf  # every live track was just seen
        self._kept = [kept for kept in self._kept if kept.time_s >= horizon_s]
        while self._glances and self._glances[0][0] < min(horizon_s, now_s + TIME_SLACK_S):
            self._glances.popleft()


def detect_scaled(detector: Detector, picture: Picture, side_px: int) -> list[Detection]:
    """Detects on the picture shrunk to `side_px` at its longer side; boxes in whole pixels of the picture itself.

    Whole pixels, because a crop must not depend on the last bits of a convolution.
    """
    height, width = picture.shape[:2]
    scale = side_px / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    else:
        small = picture
    ratio = np.tile(np.array([width / small.shape[1], height / small.shape[0]], dtype=np.float32), 2)
    return [
        Detection(box=np.rint(face.box * ratio).astype(np.float32), confidence=face.confidence)
        for face in detector.detect(small)
    ]


def crop_jpeg(picture: Picture, box: Box, config: FaceAlignment) -> bytes | None:
    """The square around a box as a JPEG of `crop_px`, or None where the picture shows nothing.

    The square's side is the box's longer side times (1 + crop_margin); outside the picture its edge is repeated.
    """
    margin = 0.0 if config.detector == "whole_frame" else config.crop_margin
    side = max(1, round(float(max(box[2] - box[0], box[3] - box[1])) * (1 + margin)))
    x0 = round(float(box[0] + box[2] - side) / 2)
    y0 = round(float(box[1] + box[3] - side) / 2)
    height, width = picture.shape[:2]
    inside = picture[max(y0, 0) : max(min(y0 + side, height), 0), max(x0, 0) : max(min(x0 + side, width), 0)]
    if inside.size == 0 or float(inside.std()) < MIN_CONTRAST:
        return None
    edges = (max(-y0, 0), max(y0 + side - height, 0), max(-x0, 0), max(x0 + side - width, 0))
    square = cv2.copyMakeBorder(inside, *edges, borderType=cv2.BORDER_REPLICATE) if any(edges) else inside
    how = cv2.INTER_AREA if side > config.crop_px else cv2.INTER_LINEAR
    small = cv2.resize(square, (config.crop_px, config.crop_px), interpolation=how)
    return jpeg_of(small, config.jpeg_quality)


def _choice(people: list[list[Track]], sound: Envelope | None) -> tuple[list[Track], str | None]:
    """The person whose face is used, and why it is this one where there are several."""
    if len(people) < 2:
        return (people[0] if people else []), None
    rule = "the largest, longest and most central one is used"
    if sound is None:
        return people[0], f"{rule}, since nobody is heard to speak"
    steps = [sum(len(track.crops) for track in person) for person in people]
    candidates = [person for person, count in zip(people, steps, strict=True) if count >= MIN_SHARE * max(steps)]
    if len(candidates) < 2:
        return people[0], f"{rule}, since the others only pass by"
    speaker = find_speaker([Lips.joined(track.lips for track in person) for person in candidates], sound)
    scores = _score_words(speaker.correlations)
    if speaker.index is None:
        return people[0], f"{rule}, since no mouth stands out by moving with the sound ({', '.join(scores)})"
    others = " and ".join(score for index, score in enumerate(scores) if index != speaker.index)
    return candidates[speaker.index], (
        f"the {_place(candidates, speaker.index)} one speaks: mouth motion correlates {scores[speaker.index]} "
        f"with the sound, the other{'s' if len(candidates) > 2 else ''} {others}"
    )


def _score_words(correlations: Sequence[float]) -> list[str]:
    return ["too briefly seen" if np.isnan(score) else f"{score:.2f}" for score in correlations]


def _place(people: list[list[Track]], index: int) -> str:
    """Where a person is among the others, as one sees them."""
    middles = [float(np.mean([(box[0] + box[2]) / 2 for track in person for box in track.boxes])) for person in people]
    rank = int(np.argsort(np.argsort(middles, kind="stable"), kind="stable")[index])
    if len(people) == 2:
        return ("left", "right")[rank]
    return "leftmost" if rank == 0 else "rightmost" if rank == len(people) - 1 else f"{rank + 1}. from the left"
