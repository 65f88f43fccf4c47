from __future__ import annotations

import numpy as np
import pytest

from components.contracts.timebase import Grid
from components.media.clocks.clock import HOLD_S, NO_FRAME, DriftEstimate, frames_of_steps, hold_s, intervals


def steps(times: list[float], duration_s: float, *, rate_hz: float = 10.0) -> list[int]:
    times_s = np.array(times)
    grid = Grid.covering(duration_s, rate_hz)
    return frames_of_steps(times_s, duration_s, grid, duration_s).tolist()


@pytest.mark.parametrize("fps", [14.0, 15.0, 23.976, 30.0, 50.0, 60.0])
def test_a_step_gets_the_frame_that_is_shown_at_its_centre_at_any_rate(fps: float) -> None:
    times = (np.arange(int(4 * fps)) / fps).tolist()
    grid = Grid.covering(4.0, 10.0)
    for step, frame in enumerate(steps(times, 4.0)):
        centre = grid.centres_s[step]
        assert times[frame] <= centre + 1e-9
        assert frame + 1 == len(times) or centre < times[frame + 1]


def test_a_variable_rate_is_followed_by_timestamp_not_by_number() -> None:
    # 10 frames/s for a second, then 50: frame 10 + 5 k is shown at the start of step 10 + k.
    times = [k / 10 for k in range(10)] + [1 + k / 50 for k in range(50)]
    found = steps(times, 2.0)
    assert found[:10] == list(range(10))
    assert found[10:] == [12 + 5 * k for k in range(10)]


def test_dropped_frames_leave_their_steps_without_a_frame() -> None:
    times = [k / 25 for k in range(75) if not 1.0 <= k / 25 < 2.0]
    found = steps(times, 3.0)
    held = 0.96 + hold_s(0.04)
    empty = [step for step, frame in enumerate(found) if frame == NO_FRAME]
    assert empty == [step for step in range(10, 20) if held < (step + 0.5) / 10 < 1.98]
    assert len(empty) >= 8


def test_a_slow_stream_serves_several_steps_with_one_frame() -> None:
    assert steps([0.0, 0.2, 0.4, 0.6], 0.8) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_before_the_first_frame_only_its_neighbourhood_is_covered() -> None:
    found = steps([1.0 + k / 25 for k in range(25)], 2.0)
    assert found[:10] == [NO_FRAME] * 10
    assert found[10] == 1


def test_after_the_picture_ends_no_step_has_a_frame() -> None:
    times_s = np.arange(25) / 25
    grid = Grid.covering(3.0, 10.0)
    found = frames_of_steps(times_s, 1.0, grid, 3.0)
    assert (found[:10] != NO_FRAME).all()
    assert (found[10:] == NO_FRAME).all()


def test_the_last_part_of_a_step_has_the_last_frame() -> None:
    assert steps([k / 25 for k in range(26)], 1.04)[-1] == 25


def test_no_frames_at_all() -> None:
    assert steps([], 0.3) == [NO_FRAME] * 3


def test_interval_statistics() -> None:
    regular = intervals(np.arange(50) / 25)
    assert regular is not None
    assert regular.rate_hz == pytest.approx(25)
    assert regular.cv == pytest.approx(0, abs=1e-9)
    varying = intervals(np.cumsum(np.tile([0.02, 0.06], 20)))
    assert varying is not None
    assert varying.cv == pytest.approx(0.5, rel=0.05)
    assert intervals(np.array([1.0])) is None
    assert hold_s(0.02) == HOLD_S
    assert hold_s(0.2) == pytest.approx(0.5)


@pytest.mark.parametrize("clock", [0.999, 1.0, 1.002])
def test_drift_is_the_run_away_of_the_sample_count(clock: float) -> None:
    counted = np.arange(500) * 1024 / 48_000
    estimate = DriftEstimate()
    estimate.add(counted[:200], 3.0 + clock * counted[:200])
    estimate.add(counted[200:], 9.0 + clock * counted[200:])
    assert estimate.slope == pytest.approx(clock, abs=1e-9)
    assert estimate.drift_s_per_min == pytest.approx(60 * (1 / clock - 1), abs=1e-6)


def test_rounded_timestamps_are_no_drift() -> None:
    counted = np.arange(300) * 1024 / 44_100
    estimate = DriftEstimate()
    estimate.add(counted, np.round(counted, 3))
    assert estimate.drift_s_per_min == 0.0
