from __future__ import annotations

import numpy as np
import pytest

from components.datasets.synthetic.action import BROWS, PROTOTYPES, SMILE, vector
from components.datasets.synthetic.face import FacePainter, Identity, Pose, poses
from components.datasets.synthetic.plan import ClipPlan

FRONTAL = Pose(yaw=0.0, pitch=0.0, roll=0.0, shift_x=0.0, shift_y=0.0)


def test_a_frame_is_a_picture_of_its_plan_alone(plans: list[ClipPlan]) -> None:
    units = vector(SMILE)
    first, again = (FacePainter(plans[3]).paint(units, FRONTAL, 2) for _ in range(2))
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("subject", [0, 1, 5, 9])
def test_displays_look_different(plans: list[ClipPlan], subject: int) -> None:
    painter = FacePainter(plans[8 * subject])
    displays = [*PROTOTYPES.values(), SMILE, BROWS]
    frames = [painter.paint(vector(pattern), FRONTAL, 0).astype(float) for pattern in displays]
    face = (slice(30, 100), slice(35, 95))
    for one in range(len(frames)):
        for other in range(one):
            assert np.abs(frames[one][face] - frames[other][face]).mean() > 2.0


def test_a_person_keeps_their_looks_and_differs_from_others(plans: list[ClipPlan]) -> None:
    assert Identity.of(plans[0]) == Identity.of(plans[7])
    assert Identity.of(plans[0]) != Identity.of(plans[8])


def test_nobody_is_in_an_empty_picture(plans: list[ClipPlan]) -> None:
    painter = FacePainter(plans[0])
    empty = painter.empty(0).astype(float)
    with_person = painter.paint(vector(SMILE), FRONTAL, 0).astype(float)
    assert np.abs(empty - with_person)[40:90, 40:90].mean() > 10
    assert empty[40:90, 40:90].std(axis=(0, 1)).mean() < with_person[40:90, 40:90].std(axis=(0, 1)).mean()


def test_heads_turn_slowly_and_stay_in_the_picture(plans: list[ClipPlan]) -> None:
    times = np.arange(0, 5, 0.04)
    for plan in plans[:20]:
        track = poses(plan, times)
        turns = np.array([[pose.yaw, pose.pitch, pose.roll] for pose in track])
        assert np.abs(turns).max() < 0.4
        assert np.abs(np.diff(turns, axis=0)).max() < 0.03
