from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from components.datasets.synthetic.action import COLUMN, PROTOTYPES, UNITS, action_units, cycle, vector
from components.datasets.synthetic.plan import ClipPlan, DisplayPart


def showing(plan: ClipPlan, emotion: str, **fields: object) -> ClipPlan:
    part = DisplayPart(start_s=0.0, end_s=plan.duration_s, emotion=emotion)
    return replace(plan, shown=(part,), words=(), intensity=1.0, **fields)  # type: ignore[arg-type]


def units_of(plan: ClipPlan) -> NDArray[np.float64]:
    return action_units(plan, np.arange(0, plan.duration_s, 0.02))


def test_intensities_are_between_nothing_and_full(plans: list[ClipPlan]) -> None:
    for plan in plans[:16]:
        units = units_of(plan)
        assert units.shape[1] == len(UNITS)
        assert units.min() >= 0.0
        assert units.max() <= 1.0


@pytest.mark.parametrize(("first", "second"), [("anger", "disgust"), ("fear", "surprise"), ("sadness", "neutral")])
def test_confused_emotions_have_the_very_same_face(plans: list[ClipPlan], first: str, second: str) -> None:
    np.testing.assert_array_equal(units_of(showing(plans[0], first)), units_of(showing(plans[0], second)))


def test_mirrored_faces_hold_the_same_displays_in_opposite_order() -> None:
    phase = (np.arange(1000) + 0.5) / 1000
    forwards, backwards = cycle("brows_then_smile", phase), cycle("smile_then_brows", phase)
    np.testing.assert_array_equal(forwards, backwards[::-1])
    assert not np.array_equal(forwards, backwards)
    # In the one, brows rise and then the smile comes; no turning of the cycle makes the other of it.
    shifts = [np.abs(np.roll(forwards, shift, axis=0) - backwards).mean() for shift in range(0, 1000, 10)]
    assert min(shifts) > 0.02


def test_a_flash_passes_in_its_time(plans: list[ClipPlan]) -> None:
    still = showing(plans[0], "neutral")
    parts = (
        DisplayPart(start_s=0.0, end_s=2.0, emotion="neutral"),
        DisplayPart(start_s=2.0, end_s=2.4, emotion="surprise", brief=True),
        DisplayPart(start_s=2.4, end_s=plans[0].duration_s, emotion="neutral"),
    )
    lids = action_units(replace(still, shown=parts), np.array([1.8, 2.2, 2.6]))[:, COLUMN[5]]
    assert lids[1] > 0.8 * vector(PROTOTYPES["wide"])[COLUMN[5]]
    assert max(lids[0], lids[2]) < 0.1


def test_lips_move_with_the_words_only(plans: list[ClipPlan]) -> None:
    plan = replace(showing(plans[0], "neutral"), words=plans[0].words)
    times = np.arange(0, plan.duration_s, 0.02)
    jaw = action_units(plan, times)[:, COLUMN[26]]
    spoken = np.zeros(times.size, dtype=bool)
    for word in plan.words:
        spoken |= (times >= word.start_s) & (times < word.end_s)
    quiet = times < plan.words[0].start_s - 0.1
    assert jaw[spoken].mean() > 0.05
    assert jaw[quiet].max(initial=0.0) < 0.01
