from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.timebase import Grid, pool_mean


@pytest.mark.parametrize(
    ("duration_s", "steps"), [(1.0, 10), (1.0000000001, 10), (1.01, 11), (0.04, 1), (0.1, 1), (0.30000000000000004, 3)]
)
def test_a_grid_covers_its_duration(duration_s: float, steps: int) -> None:
    assert Grid.covering(duration_s, 10.0).num_steps == steps


def test_overlap_is_half_open() -> None:
    grid = Grid(rate_hz=10.0, num_steps=10)
    assert grid.overlap(0.2, 0.4) == slice(2, 4)
    assert grid.overlap(0.25, 0.41) == slice(2, 5)
    assert grid.overlap(-1.0, 0.1) == slice(0, 1)
    assert grid.overlap(5.0, 6.0) == slice(10, 10)


def test_pooling_weighs_by_overlap() -> None:
    grid = Grid(rate_hz=10.0, num_steps=3)
    values = np.array([[1.0], [4.0]])
    pooled, covered = pool_mean(values, np.array([0.0, 0.05]), np.array([0.05, 0.15]), grid)
    np.testing.assert_allclose(pooled[:, 0], [2.5, 4.0, 0.0])
    assert covered.tolist() == [True, True, False]


@given(
    rate=st.floats(min_value=7.0, max_value=97.0),
    rows=st.integers(min_value=1, max_value=200),
    steps=st.integers(min_value=1, max_value=40),
)
def test_a_constant_stream_pools_to_itself(rate: float, rows: int, steps: int) -> None:
    starts_s = np.arange(rows) / rate
    pooled, covered = pool_mean(
        np.full((rows, 2), 3.5), starts_s, starts_s + 1 / rate, Grid(rate_hz=10.0, num_steps=steps)
    )
    np.testing.assert_allclose(pooled[covered], 3.5, rtol=1e-5)
    assert not pooled[~covered].any()
    assert covered[0]


def test_an_empty_stream_covers_nothing() -> None:
    pooled, covered = pool_mean(np.zeros((0, 3)), np.zeros(0), np.zeros(0), Grid(rate_hz=10.0, num_steps=2))
    assert pooled.shape == (2, 3)
    assert not covered.any()
