from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from components.alignment.chunks import chunks


def sizes(count: int, workers: int, *, most: int = 8) -> list[int]:
    return [len(chunk) for chunk in chunks(range(count), workers, most=most)]


def test_large_chunks_come_first_and_small_ones_last() -> None:
    assert sizes(48, 2) == [8, 8, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1]


def test_many_workers_get_a_piece_each() -> None:
    assert sizes(6, 8) == [1] * 6


def test_nothing_is_no_chunk() -> None:
    assert sizes(0, 2) == []


@given(count=st.integers(0, 300), workers=st.integers(1, 16), most=st.integers(1, 12))
def test_everything_once_in_order_and_never_more_than_before(count: int, workers: int, most: int) -> None:
    made = list(chunks(range(count), workers, most=most))
    assert [item for chunk in made for item in chunk] == list(range(count))
    lengths = [len(chunk) for chunk in made]
    assert all(1 <= length <= most for length in lengths)
    assert lengths == sorted(lengths, reverse=True)
