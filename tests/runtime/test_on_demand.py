from __future__ import annotations

import threading

import numpy as np
import pytest

from components.runtime.on_demand import OnDemand, some_at, some_of


def test_items_are_made_when_they_are_asked_for() -> None:
    made: list[int] = []

    def make(place: int) -> int:
        made.append(place)
        return place * place

    items = OnDemand(make, np.array([5, 2, 7, 1]))
    part = items[1:]
    assert made == []
    assert (len(part), part[0], part[-1]) == (3, 4, 1)
    assert made == [2, 1]
    assert list(items) == [25, 4, 49, 1]
    odd = some_of(items, lambda item: item % 2 == 1)
    assert isinstance(odd, OnDemand)
    made.clear()
    assert list(odd) == [25, 49, 1]
    assert made == [5, 7, 1]
    assert some_of([25, 4, 49], lambda item: item % 2 == 1) == [25, 49]
    assert len(some_of(items, lambda _: False)) == 0


def test_items_that_are_waited_for_are_made_at_the_same_time_and_stay_in_order() -> None:
    together = threading.Barrier(4, timeout=60)

    def make(place: int) -> int:
        together.wait()
        return 10 * place

    items = OnDemand(make, np.arange(20), at_once=4)
    assert some_at(items[5:], [3, 0, 9, 1]) == [80, 50, 140, 60]
    assert list(items) == [10 * place for place in range(20)]
    alone = OnDemand(lambda place: (place, threading.current_thread()), np.arange(3))
    assert some_at(alone, [2, 0]) == [(2, threading.current_thread()), (0, threading.current_thread())]
    assert some_at([1, 2, 3], [2, 0]) == [3, 1]


def test_an_item_that_cannot_be_made_is_an_error_whoever_makes_it() -> None:
    with pytest.raises(ZeroDivisionError):
        some_at(OnDemand(lambda place: 1 // place, np.arange(4), at_once=4), [1, 0, 2])
