"""The submission of the expression challenge: frames by their number, in the list's order and the official columns."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from components.contracts.errors import DataError, ModelError
from components.contracts.labels import ABAW8
from components.evaluation.abaw import HEADER, RequestedFrames, VideoClasses, judge, read_list, rows

CLASSES = ABAW8.classes


def posterior(*names: str, classes: tuple[str, ...] = CLASSES) -> np.ndarray:
    return np.array([[0.8 if name == one else 0.2 / 7 for one in classes] for name in names])


def wholly(*classes: int) -> VideoClasses:
    return VideoClasses(classes=np.array(classes), borrowed=np.zeros(len(classes), dtype=bool))


def test_the_header_is_the_official_one() -> None:
    assert HEADER == "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"


def test_a_list_names_frames_or_whole_videos() -> None:
    text = f"{HEADER}\nb/00010.jpg,\n2-30-640x360/00001.jpg,0,0,0\nvideo5_left\n\nlast one.mp4\n"
    assert read_list("\ufeff" + text, where="list") == [
        RequestedFrames(video="b", frame=10),
        RequestedFrames(video="2-30-640x360", frame=1),
        RequestedFrames(video="video5_left", frame=None),
        RequestedFrames(video="last one", frame=None),
    ]


@pytest.mark.parametrize("text", ["", HEADER, "a/00000.jpg", "a/b/00001.jpg", "a/first.jpg", "../00001.jpg/x"])
def test_a_line_that_is_not_a_frame_is_refused(text: str) -> None:
    with pytest.raises(DataError) as refused:
        read_list(f"ok\n{text}" if text.count("/") else text, where="list.txt")
    assert refused.value.code == "bad-list"
    assert refused.value.where == ("list.txt line 2" if text.count("/") else "list.txt")


def test_a_frame_has_the_class_of_its_step_at_any_rate() -> None:
    steps = posterior("neutral", "anger", "happiness", "other")
    for fps in (14.0, 25.0, 60.0):
        times_s = np.arange(int(0.4 * fps)) / fps
        judged = judge(times_s, steps, np.ones(4, dtype=bool), rate_hz=10.0, classes=CLASSES)
        assert judged.classes.tolist() == [[0, 1, 4, 7][int(time_s * 10 + 1e-6)] for time_s in times_s]
        assert not judged.borrowed.any()


def test_classes_are_matched_by_name_in_any_order() -> None:
    turned = CLASSES[::-1]
    judged = judge(
        np.array([0.0, 0.1]),
        posterior("sadness", "neutral", classes=turned),
        np.ones(2, dtype=bool),
        rate_hz=10.0,
        classes=turned,
    )
    assert judged.classes.tolist() == [5, 0]
    with pytest.raises(ModelError, match="calm"):
        judge(np.zeros(1), np.ones((1, 8)), np.ones(1, dtype=bool), rate_hz=10.0, classes=("calm", *CLASSES[1:]))


def test_a_moment_without_evidence_gets_the_class_of_the_nearest_one() -> None:
    steps = posterior("fear", "fear", "anger", "surprise", "surprise", "neutral")
    valid = np.array([True, False, False, False, True, False])
    times_s = (np.arange(8) + 0.5) / 10  # two frames after the last step
    judged = judge(times_s, steps, valid, rate_hz=10.0, classes=CLASSES)
    assert judged.classes.tolist() == [3, 3, 3, 6, 6, 6, 6, 6]
    assert judged.borrowed.tolist() == [False, True, True, True, False, True, True, True]
    with pytest.raises(DataError) as refused:
        judge(times_s, steps, np.zeros(6, dtype=bool), rate_hz=10.0, classes=CLASSES)
    assert refused.value.code == "nothing-to-judge"


def test_rows_go_by_the_number_in_the_name_and_not_by_the_position_in_the_list() -> None:
    requested = [
        RequestedFrames(video="b", frame=3),
        RequestedFrames(video="a", frame=2),
        RequestedFrames(video="b", frame=1),
        RequestedFrames(video="a", frame=9),
        RequestedFrames(video="c", frame=None),
    ]
    counts: Counter[str] = Counter()
    judged = {"a": wholly(0, 4), "b": wholly(1, 2, 3), "c": wholly(7, 6)}
    assert list(rows(requested, judged, counts)) == [
        HEADER,
        "b/00003.jpg,3",
        "a/00002.jpg,4",
        "b/00001.jpg,1",
        "a/00009.jpg,4",
        "c/00001.jpg,7",
        "c/00002.jpg,6",
    ]
    assert +counts == Counter({"frames": 6, "beyond the video's last frame, with the class of the last one": 1})
