"""Which detections are one face: tracks from one detection to the next, and persons made of tracks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from components.alignment.faces.detection import Detection, overlap
from components.alignment.faces.lips import Lips

MIN_IOU = 0.2  # of a face with itself one detection later
JOIN_FACE_SIDES = 1.5  # pieces of one face lie within this many face sides of each other,
JOIN_SIZE_RATIO = 2.0  # and differ in size by no more than this

Box = NDArray[np.float32]


@dataclass
class Track:
    """One face without a break: its detections, their weight, a crop of each step, and its mouth."""

    times_s: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    weight: float = 0.0
    crops: dict[int, tuple[bytes, Box]] = field(default_factory=dict)
    lips: Lips = field(default_factory=Lips)


def weight(face: Detection, width: int, height: int) -> float:
    """The weight of one detection for its track: confident, large, central; sums over a track, so long ones win."""
    centre = (face.box[:2] + face.box[2:]) / 2
    away = float(np.hypot(centre[0] - width / 2, centre[1] - height / 2) / (np.hypot(width, height) / 2))
    return face.confidence * face.side_px / min(width, height) * (1 - 0.5 * min(away, 1.0))


def associated(tracks: list[Track], detections: list[Detection]) -> list[tuple[Track, Detection]]:
    """Pairs detections with the tracks they overlap most, best pairs first; the others begin tracks of their own."""
    pairs = []
    for j, face in enumerate(detections):
        if tracks:
            ious = overlap(face.box, np.stack([track.boxes[-1] for track in tracks]))
            pairs += [(float(-iou), -tracks[i].times_s[-1], i, j) for i, iou in enumerate(ious) if iou >= MIN_IOU]
    taken: dict[int, int] = {}
    for _, _, i, j in sorted(pairs):
        if i not in taken and j not in taken.values():
            taken[i] = j
    matched = [(tracks[i], detections[j]) for i, j in taken.items()]
    for j, face in enumerate(detections):
        if j not in taken.values():
            tracks.append(Track())
            matched.append((tracks[-1], face))
    return matched


def same_face(box: Box, detections: list[Detection]) -> Detection | None:
    """The detection that overlaps a box most, if one does."""
    if not detections:
        return None
    ious = overlap(box, np.stack([face.box for face in detections]))
    best = int(np.argmax(ious))
    return detections[best] if ious[best] >= MIN_IOU else None


def persons(tracks: list[Track]) -> list[list[Track]]:
    """The tracks sorted by person: each begins with its heaviest one, and the first person has the heaviest of all.

    A person is a track and those that continue it before and after, such as pieces that a quick movement broke off.
    """
    left = sorted(tracks, key=lambda track: -track.weight)
    people = []
    while left:
        person = [left.pop(0)]
        for track in list(left):
            if all(_continues(track, other) for other in person):
                person.append(track)
                left = [other for other in left if other is not track]
        people.append(person)
    return people


def _continues(track: Track, other: Track) -> bool:
    """Whether two tracks can be one face: not seen at the same time, and near each other in place and size."""
    first, second = (track, other) if track.times_s[0] < other.times_s[0] else (other, track)
    if first.times_s[-1] >= second.times_s[0]:
        return False
    old, new = first.boxes[-1], second.boxes[0]
    old_side, new_side = (float(max(box[2] - box[0], box[3] - box[1])) for box in (old, new))
    apart = float(np.hypot(*((old[:2] + old[2:] - new[:2] - new[2:]) / 2)))
    ratio = max(old_side, new_side) / max(min(old_side, new_side), 1.0)
    return apart <= JOIN_FACE_SIDES * max(old_side, new_side) and ratio <= JOIN_SIZE_RATIO
