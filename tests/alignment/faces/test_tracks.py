from __future__ import annotations

import numpy as np

from components.alignment.faces.detection import Detection
from components.alignment.faces.tracks import Track, associated, persons, same_face, weight


def face(x: float, y: float = 80.0, side: float = 40.0, confidence: float = 0.99) -> Detection:
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dtype=np.float32)
    return Detection(box=box, confidence=confidence)


def tracked(x: float, times: list[float], *, heavy: float = 1.0) -> Track:
    return Track(times_s=times, boxes=[face(x).box for _ in times], weight=heavy)


def test_each_face_goes_on_in_the_track_it_overlaps_most() -> None:
    tracks = [tracked(40, [0.0]), tracked(70, [0.0])]
    matched = associated(tracks, [face(66), face(45), face(150)])
    order = [id(track) for track in tracks]
    places = {int((found.box[0] + found.box[2]) / 2): order.index(id(track)) for track, found in matched}
    assert places == {45: 0, 66: 1, 150: 2}
    assert len(tracks) == 3


def test_the_same_face_is_the_one_that_overlaps() -> None:
    found = same_face(face(40).box, [face(100), face(46)])
    assert found is not None
    assert found.box[0] == 26
    assert same_face(face(40).box, [face(100)]) is None
    assert same_face(face(40).box, []) is None


def test_pieces_near_each_other_in_turn_are_one_person_and_others_are_not() -> None:
    first, again = tracked(40, [0.0, 1.0], heavy=3.0), tracked(80, [2.0, 3.0], heavy=1.0)
    beside, far = tracked(60, [0.0, 3.0], heavy=2.0), tracked(300, [2.0], heavy=0.5)
    found = persons([far, again, first, beside])
    assert [[track.weight for track in person] for person in found] == [[3.0, 1.0], [2.0], [0.5]]
    assert persons([]) == []


def test_large_central_and_sure_faces_weigh_more() -> None:
    plain = weight(face(100), 200, 160)
    assert weight(face(100, side=60), 200, 160) > plain
    assert weight(face(20), 200, 160) < plain
    assert weight(face(100, confidence=0.5), 200, 160) < plain
