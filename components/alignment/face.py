"""One face through a clip: detection now and then, tracks in between, a square crop for every step that has one.

Pictures arrive one by one and are let go again: between two detections the pictures of the steps are kept, and as soon
as the later detection is known every live track is cropped on them with a box interpolated in time. At the end one
track is chosen, the one that was seen longest, largest and most centrally, joined with pieces of the same face that a
quick movement broke off. Where no track has a box the step stays without a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from components.alignment.mtcnn import Detection, Mtcnn, overlap
from components.contracts.config import FaceAlignment

MIN_IOU = 0.2  # of a face with itself one detection later
MAX_TRACKED = 4  # faces followed at once; bounds memory in a crowd
JOIN_FACE_SIDES = 1.5  # pieces of one face lie within this many face sides of each other,
JOIN_SIZE_RATIO = 2.0  # and differ in size by no more than this
MIN_CONTRAST = 2.0  # grey levels; a crop flatter than this is a black or broken picture, not a face
TIME_SLACK_S = 1e-6

Picture = NDArray[np.uint8]
Box = NDArray[np.float32]


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
    return Mtcnn(min_face_px=config.min_face_px, min_confidence=config.min_confidence)


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The chosen face on the grid: T JPEG crops or None, (T, 4) boxes in picture pixels or NaN; `others` counts
    the faces that were seen and not chosen."""

    jpeg: tuple[bytes | None, ...]
    box: NDArray[np.float32]
    others: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(T,) True where there is a face."""
        return np.array([jpeg is not None for jpeg in self.jpeg], dtype=bool)


@dataclass
class _Track:
    times_s: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    weight: float = 0.0
    crops: dict[int, tuple[bytes, Box]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Kept:
    time_s: float
    steps: tuple[int, ...]
    picture: Picture


class FaceTracker:
    """Collects the faces of one clip; pictures are added in the order of time."""

    def __init__(self, config: FaceAlignment, detector: Detector, *, num_steps: int, rate_hz: float) -> None:
        self._config = config
        self._detector = detector
        self._num_steps = num_steps
        self._every_steps = max(1, round(config.detect_every_s * rate_hz))
        self._due_step = 0
        self._tracks: list[_Track] = []
        self._kept: list[_Kept] = []
        self._undetected: _Kept | None = None

    def add(self, time_s: float, steps: Sequence[int], picture: Picture) -> None:
        """Adds the picture of one or more steps.

        Args:
            time_s: its time on the clip's clock.
            steps: the steps it serves, ascending.
            picture: (H, W, 3) uint8 RGB.
        """
        kept = _Kept(time_s, tuple(steps), picture)
        before = self._undetected
        if before is not None and time_s - before.time_s > self._config.detect_every_s:
            self._detect(before)  # pictures are missing after it, and a box is only known between two detections
            self._due_step = steps[0]
        self._kept.append(kept)
        if steps[-1] >= self._due_step:
            self._detect(kept)
            self._due_step = steps[-1] + self._every_steps
            self._undetected = None
        else:
            self._undetected = kept

    def finish(self) -> Faces:
        """Chooses the face of the clip. Call once, after the last picture."""
        if self._undetected is not None:
            self._detect(self._undetected)  # otherwise the clip's last moments could only be guessed
        chosen = _chosen(self._tracks)
        box = np.full((self._num_steps, 4), np.nan, dtype=np.float32)
        jpeg: list[bytes | None] = [None] * self._num_steps
        for track in chosen:
            for step, (data, face) in track.crops.items():
                jpeg[step], box[step] = data, face
        return Faces(jpeg=tuple(jpeg), box=box, others=len(self._tracks) - len(chosen))

    def _detect(self, now: _Kept) -> None:
        found = detect_scaled(self._detector, now.picture, self._config.detect_side_px)
        found = sorted(found, key=lambda face: -face.side_px)[:MAX_TRACKED]
        height, width = now.picture.shape[:2]
        for track, face in _associated(self._tracks, found):
            track.times_s.append(now.time_s)
            track.boxes.append(face.box)
            track.weight += _weight(face, width, height)
            self._crop(track)
        horizon_s = now.time_s - self._config.max_gap_s - TIME_SLACK_S
        self._kept = [kept for kept in self._kept if horizon_s <= kept.time_s] if self._live(now.time_s) else []

    def _live(self, now_s: float) -> bool:
        """Whether a track without a detection just now may still be continued across the pictures kept."""
        new, tracks = now_s - TIME_SLACK_S, self._tracks
        return any(now_s - self._config.max_gap_s <= track.times_s[-1] < new for track in tracks)

    def _crop(self, track: _Track) -> None:
        """Crops a track on the pictures since its last detection, or on the newest one where the gap is too long."""
        end_s = track.times_s[-1]
        begin_s = track.times_s[-2] if len(track.times_s) > 1 else -np.inf
        bridged = len(track.times_s) > 1 and end_s - begin_s <= self._config.max_gap_s + TIME_SLACK_S
        for kept in self._kept:
            if kept.time_s == end_s:
                box = track.boxes[-1]
            elif bridged and begin_s < kept.time_s < end_s:
                share = np.float32((kept.time_s - begin_s) / (end_s - begin_s))
                box = np.rint(track.boxes[-2] + share * (track.boxes[-1] - track.boxes[-2]))
            else:
                continue
            data = crop_jpeg(kept.picture, box, self._config)
            if data is not None:
                track.crops.update(dict.fromkeys(kept.steps, (data, box)))


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
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    data: bytes = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality])[1].tobytes()
    return data


def _weight(face: Detection, width: int, height: int) -> float:
    """How much one detection speaks for its track: confident, large, central; sums over a track, so long ones win."""
    centre = (face.box[:2] + face.box[2:]) / 2
    away = float(np.hypot(centre[0] - width / 2, centre[1] - height / 2) / (np.hypot(width, height) / 2))
    return face.confidence * face.side_px / min(width, height) * (1 - 0.5 * min(away, 1.0))


def _associated(tracks: list[_Track], found: list[Detection]) -> list[tuple[_Track, Detection]]:
    """Pairs detections with the tracks they overlap most, best pairs first; the others begin tracks of their own."""
    pairs = []
    for j, face in enumerate(found):
        if tracks:
            ious = overlap(face.box, np.stack([track.boxes[-1] for track in tracks]))
            pairs += [(float(-iou), -tracks[i].times_s[-1], i, j) for i, iou in enumerate(ious) if iou >= MIN_IOU]
    taken: dict[int, int] = {}
    for _, _, i, j in sorted(pairs):
        if i not in taken and j not in taken.values():
            taken[i] = j
    matched = [(tracks[i], found[j]) for i, j in taken.items()]
    for j, face in enumerate(found):
        if j not in taken.values():
            tracks.append(_Track())
            matched.append((tracks[-1], face))
    return matched


def _chosen(tracks: list[_Track]) -> list[_Track]:
    """The heaviest track, and those that continue it before and after."""
    if not tracks:
        return []
    chosen = [max(tracks, key=lambda track: track.weight)]
    for track in sorted(tracks, key=lambda track: -track.weight):
        if all(_continues(track, other) for other in chosen):
            chosen.append(track)
    return chosen


def _continues(track: _Track, other: _Track) -> bool:
    """Whether two tracks can be one face: not seen at the same time, and near each other in place and size."""
    first, second = (track, other) if track.times_s[0] < other.times_s[0] else (other, track)
    if first.times_s[-1] >= second.times_s[0]:
        return False
    old, new = first.boxes[-1], second.boxes[0]
    old_side, new_side = (float(max(box[2] - box[0], box[3] - box[1])) for box in (old, new))
    apart = float(np.hypot(*((old[:2] + old[2:] - new[:2] - new[2:]) / 2)))
    ratio = max(old_side, new_side) / max(min(old_side, new_side), 1.0)
    return apart <= JOIN_FACE_SIDES * max(old_side, new_side) and ratio <= JOIN_SIZE_RATIO
