from __future__ import annotations

import pytest
import torch

from components.contracts.config import Model
from components.model.published.windows import Windows, extents, fill_gaps, left_aligned


@pytest.mark.parametrize(("rate_hz", "expected"), [(30.0, (90, 15, 5)), (10.0, (30, 5, 1)), (12.5, (38, 6, 2))])
def test_seconds_become_steps_of_the_grid(rate_hz: float, expected: tuple[int, int, int]) -> None:
    windows = Windows.of(Model(preset="paper"), rate_hz)
    assert (windows.length, windows.stride, windows.fill) == expected


@pytest.mark.parametrize(
    ("first", "end", "expected"),
    [
        (0, 9, [(0, 4), (2, 6), (4, 8)]),
        (3, 9, [(3, 7), (5, 9)]),
        (0, 4, [(0, 4)]),
        (1, 3, [(1, 3)]),
        (5, 5, []),
    ],
)
def test_windows_are_whole_and_start_where_something_is(first: int, end: int, expected: list[tuple[int, int]]) -> None:
    assert Windows(length=4, stride=2, fill=0).spans(first, end) == expected


def test_a_clip_reaches_from_its_first_to_its_last_valid_step() -> None:
    valid = torch.tensor([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]).bool()
    assert extents(valid) == [(1, 4), (0, 5), (0, 0), (4, 5)]


def test_gaps_of_up_to_five_frames_get_the_last_valid_one() -> None:
    mask = torch.tensor([[0, 1] + [0] * 5 + [1, 1] + [0] * 6 + [1, 0]]).bool()
    x = torch.arange(float(mask.shape[1])).reshape(1, -1, 1)
    x[~mask] = torch.nan
    filled, known = fill_gaps(x, mask, 5)
    assert known.tolist() == [[False, *[True] * 8, *[False] * 6, True, False]]
    assert filled[known].flatten().tolist() == [1.0] * 6 + [7.0, 8.0, 15.0]


def test_nothing_is_filled_when_no_gap_may_be() -> None:
    mask = torch.tensor([[1, 0, 1]]).bool()
    assert torch.equal(fill_gaps(torch.zeros(1, 3, 2), mask, 0)[1], mask)


def test_valid_steps_move_left_in_their_order() -> None:
    mask = torch.tensor([[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    x = torch.arange(12.0).reshape(3, 4, 1)
    x[~mask] = torch.nan
    moved, kept = left_aligned(x, mask)
    assert moved.squeeze(-1).tolist() == [[1, 3, 0, 0], [4, 5, 6, 7], [0, 0, 0, 0]]
    assert kept.tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]
