from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.chunks import chunk_size, chunks


def sizes(count: int, workers: int, *, least: int = 1, most: int = 8) -> list[int]:
    return [len(chunk) for chunk in chunks(range(count), workers, least=least, most=most)]


def test_large_chunks_come_first_and_small_ones_last() -> None:
    assert sizes(48, 2) == [8, 8, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1]
    assert sizes(48, 2, least=2) == [8, 8, 8, 6, 5, 4, 3, 2, 2, 2]


def test_many_workers_get_a_piece_each() -> None:
    assert sizes(6, 8) == [1] * 6


def test_nothing_is_no_chunk() -> None:
    assert sizes(0, 2) == []


@given(
    count=st.integers(0, 300),
    workers=st.integers(1, 16),
    least=st.integers(1, 4),
    beyond=st.integers(0, 12),
)
def test_everything_once_in_order_within_the_bounds(count: int, workers: int, least: int, beyond: int) -> None:
    made = list(chunks(range(count), workers, least=least, most=least + beyond))
    assert [item for chunk in made for item in chunk] == list(range(count))
    assert all(least <= len(chunk) <= least + beyond for chunk in made[:-1])
    lengths = [len(chunk) for chunk in made]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(("left", "size"), [(100, 8), (16, 4), (5, 2), (1, 1)])
def test_a_chunk_is_a_share_of_what_is_left(left: int, size: int) -> None:
    assert chunk_size(left, 2, least=1, most=8) == size
