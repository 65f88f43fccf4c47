from __future__ import annotations

import numpy as np

from components.runtime.on_demand import OnDemand, some_of


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
