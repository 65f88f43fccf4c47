from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from components.alignment.faces.detection import Detection
from components.alignment.faces.face import Faces, FaceTracker, Picture, WholeFrame, create_detector, crop_jpeg
from components.alignment.faces.mtcnn import Mtcnn
from components.contracts.config import FaceAlignment
from tests.alignment.media import jpeg

WIDTH, HEIGHT = 200, 160
Script = Callable[[int], list[tuple[float, float, float]]]


class Scripted:
    """A detector that reads the step number from the picture and answers (centre x, centre y, side) of a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[int] = []

    def detect(self, rgb: Picture) -> list[Detection]:
        step = int(rgb[0, 0, 0])
        self.asked.append(step)
        return [
            Detection(box=np.array([x - s / 2, y - s / 2, x + s / 2, y + s / 2], dtype=np.float32), confidence=0.99)
            for x, y, s in self.script(step)
        ]


def picture_of(step: int) -> Picture:
    rgb = np.random.default_rng(step).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[0, 0, 0] = step
    return rgb


def track(script: Script, *, steps: int = 31, skipped: set[int] = frozenset(), **config: object) -> tuple[Faces, list]:
    settings = FaceAlignment(detect_side_px=WIDTH, **config)
    detector = Scripted(script)
    tracker = FaceTracker(settings, detector, num_steps=steps, rate_hz=10.0)
    for step in range(steps):
        if step not in skipped:
            tracker.add(step / 10 + 0.05, [step], picture_of(step))
    return tracker.finish(), detector.asked


def centres_x(faces: Faces) -> np.ndarray:
    return (faces.box[:, 0] + faces.box[:, 2]) / 2


def test_detection_is_sparse_and_boxes_are_interpolated_in_time() -> None:
    faces, asked = track(lambda step: [(60 + 2 * step, 80, 50)])
    assert asked == [0, 5, 10, 15, 20, 25, 30]
    assert faces.mask.all()
    assert centres_x(faces) == pytest.approx(60 + 2 * np.arange(31), abs=1)


def test_the_last_picture_is_always_looked_at() -> None:
    faces, asked = track(lambda step: [(60 + step, 80, 50)], steps=29)
    assert asked[-1] == 28
    assert faces.mask.all()


def test_a_short_miss_is_bridged_and_a_long_gap_is_masked() -> None:
    faces, _ = track(lambda step: [] if step == 10 else [(100, 80, 50)])
    assert faces.mask.all()
    faces, _ = track(lambda step: [] if step in (10, 15) else [(100, 80, 50)])
    assert np.nonzero(~faces.mask)[0].tolist() == list(range(10, 16))
    assert np.isnan(faces.box[10:16]).all()
    assert faces.others == 0


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("last", range(20, 26))
def test_a_face_is_there_from_the_step_it_comes_to_the_step_it_goes(first: int, last: int) -> None:
    faces, asked = track(lambda step: [(60 + 2 * step, 80, 50)] if first <= step <= last else [])
    assert np.nonzero(faces.mask)[0].tolist() == list(range(first, last + 1))
    assert centres_x(faces)[first : last + 1] == pytest.approx(60 + 2 * np.arange(first, last + 1), abs=1)
    assert len(asked) == len(set(asked)), "a picture was looked at twice"
    assert len(asked) <= 7 + 2 * 3, "halving four pictures takes three looks at most"


def test_a_cut_between_two_people_is_found_to_the_step() -> None:
    faces, _ = track(lambda step: [(40, 80, 30) if step < 18 else (150, 80, 30)])
    assert np.nonzero(faces.mask)[0].tolist() == list(range(18))
    assert faces.others == 1


def test_steps_without_a_picture_stay_without_a_face() -> None:
    faces, _ = track(lambda step: [(100, 80, 50)], skipped={7, 8, 10, 11})
    assert np.nonzero(~faces.mask)[0].tolist() == [7, 8, 10, 11]


def test_no_face_at_all() -> None:
    faces, _ = track(lambda step: [])
    assert not faces.mask.any()
    assert faces.jpeg == (None,) * 31


def test_of_two_people_the_larger_more_central_one_is_followed_throughout() -> None:
    faces, _ = track(lambda step: [(40, 40, 40), (110, 80, 60)])
    assert (centres_x(faces) == 110).all()
    assert faces.others == 1


def test_the_face_that_stays_wins_over_one_that_passes() -> None:
    faces, _ = track(lambda step: [(100, 80, 50)] + ([(40, 80, 60)] if 10 <= step <= 15 else []))
    assert (centres_x(faces) == 100).all()


def test_a_quick_movement_does_not_lose_the_face() -> None:
    faces, _ = track(lambda step: [(60 if step < 15 else 115, 80, 50)])
    assert faces.mask[:11].all()
    assert faces.mask[15:].all()
    assert faces.others == 0


def test_another_place_after_a_cut_is_another_person() -> None:
    faces, _ = track(lambda step: [(40, 80, 30) if step < 20 else (150, 80, 30)])
    assert faces.mask[:16].all()
    assert not faces.mask[20:].any()
    assert faces.others == 1


def test_pictures_are_let_go_of_while_the_clip_goes_on() -> None:
    settings = FaceAlignment(detect_side_px=WIDTH, crop_px=32)
    tracker = FaceTracker(settings, Scripted(lambda step: [(100, 80, 50), (40, 40, 40)]), num_steps=600, rate_hz=10.0)
    rgb = np.repeat(np.arange(0, 250, 1, dtype=np.uint8)[:HEIGHT, None, None], WIDTH, axis=1).repeat(3, axis=2)
    tracemalloc.start()
    for step in range(600):
        for part in range(3):
            tracker.glance(step / 10 + 0.02 + 0.03 * part, rgb[..., 0].copy())
        tracker.add(step / 10 + 0.08, [step], rgb.copy())
    faces = tracker.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert faces.mask.all()
    assert faces.lips is not None
    assert len(faces.lips.times_s) == 1800 - 2, "all but those before the first picture that was looked at"
    # 600 pictures of 96 KB and 1,800 glances of 32 KB passed by; about 11 and 33 are held at once, and the crops stay.
    assert peak < 8_000_000


def test_a_flat_picture_is_never_a_face() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert crop_jpeg(black, np.array([50, 50, 90, 90], dtype=np.float32), FaceAlignment()) is None


def test_the_crop_is_the_square_around_the_box_with_its_margin() -> None:
    rgb = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[50:90, 60:100] = 255
    data = crop_jpeg(rgb, np.array([60, 50, 100, 90], dtype=np.float32), FaceAlignment(crop_margin=0.5, crop_px=90))
    assert data is not None
    crop = jpeg(data)
    assert crop.shape == (90, 90, 3)
    assert (crop[17:73, 17:73] > 230).all()
    assert crop[:13].max() < 25


def test_a_crop_over_the_edge_repeats_the_edge() -> None:
    rgb = np.tile(np.linspace(0, 255, WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3)).copy()
    data = crop_jpeg(rgb, np.array([170, 60, 230, 120], dtype=np.float32), FaceAlignment(crop_margin=0))
    assert data is not None
    assert jpeg(data)[:, -20:].min() > 240


def test_a_crop_outside_the_picture_is_none() -> None:
    assert crop_jpeg(picture_of(1), np.array([300, 60, 340, 100], dtype=np.float32), FaceAlignment()) is None


def test_detectors_by_name() -> None:
    assert isinstance(create_detector(FaceAlignment()), Mtcnn)
    whole = create_detector(FaceAlignment(detector="whole_frame"))
    assert isinstance(whole, WholeFrame)
    assert whole.detect(picture_of(0))[0].box.tolist() == [0, 0, WIDTH, HEIGHT]


def test_whole_frame_keeps_the_whole_picture() -> None:
    settings = FaceAlignment(detector="whole_frame", crop_px=64)
    tracker = FaceTracker(settings, create_detector(settings), num_steps=2, rate_hz=10)
    rgb = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (64, 1, 3)).copy()
    tracker.add(0.05, [0, 1], rgb)
    faces = tracker.finish()
    assert faces.jpeg[0] == faces.jpeg[1]
    assert faces.jpeg[0] is not None
    assert np.abs(jpeg(faces.jpeg[0]).astype(int) - rgb).max() <= 4
