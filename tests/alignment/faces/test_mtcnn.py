from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from components.alignment.faces.detection import overlap
from components.alignment.faces.face import detect_scaled
from components.alignment.faces.mtcnn import Mtcnn, suppress
from tests.alignment.media import draw_face


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    return Mtcnn(min_face_px=32, min_confidence=0.9)


@pytest.mark.parametrize("centre", [(0.3, 0.5), (0.5, 0.5), (0.7, 0.5)])
@pytest.mark.parametrize("side", [0.35, 0.6])
def test_a_drawn_face_is_found_where_it_is(mtcnn: Mtcnn, centre: tuple[float, float], side: float) -> None:
    found = mtcnn.detect(draw_face(320, 320, centre=centre, side=side))
    assert len(found) == 1
    middle = (found[0].box[:2] + found[0].box[2:]) / 2
    assert middle[0] == pytest.approx(320 * centre[0], abs=0.15 * side * 320)
    assert middle[1] == pytest.approx(320 * centre[1], abs=0.2 * side * 320)
    assert found[0].side_px == pytest.approx(side * 320, rel=0.3)
    assert found[0].confidence > 0.9


def test_no_face_in_noise_or_on_a_flat_picture(mtcnn: Mtcnn) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert mtcnn.detect(noise) == []
    assert mtcnn.detect(np.full((240, 320, 3), 90, dtype=np.uint8)) == []


def test_a_picture_smaller_than_the_smallest_face_has_none(mtcnn: Mtcnn) -> None:
    assert mtcnn.detect(np.zeros((20, 20, 3), dtype=np.uint8)) == []


def test_two_faces(mtcnn: Mtcnn) -> None:
    both = np.hstack([draw_face(200, 240, side=0.6), draw_face(200, 240, side=0.5)])
    assert len(mtcnn.detect(both)) == 2


def test_boxes_do_not_depend_on_the_number_of_threads(mtcnn: Mtcnn) -> None:
    picture = draw_face(400, 400, centre=(0.45, 0.5))
    threads = torch.get_num_threads()
    try:
        boxes = []
        for count in (1, 2):
            torch.set_num_threads(count)
            boxes.append([face.box.tolist() for face in detect_scaled(mtcnn, picture, 320)])
    finally:
        torch.set_num_threads(threads)
    assert boxes[0]
    assert boxes[0] == boxes[1]


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], dtype=np.float32)
    assert suppress(boxes, np.array([0.8, 0.9, 0.7], dtype=np.float32), 0.5) == [1, 2]
    assert overlap(boxes[0], boxes).tolist() == pytest.approx([1.0, 81 / 119, 0.0])
    assert overlap(boxes[0], np.array([[0, 0, 5, 5]], dtype=np.float32), of_smaller=True).tolist() == [1.0]


@pytest.mark.integration
def test_faces_of_real_people_are_found(mtcnn: Mtcnn, shared_data: Path) -> None:
    seen = found = 0
    for path in sorted((shared_data / "clips").glob("*.mp4")):
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % 60:
                    continue
                seen += 1
                found += bool(detect_scaled(mtcnn, frame.to_ndarray(format="rgb24"), 320))
    assert seen > 30
    assert found / seen >= 0.95
