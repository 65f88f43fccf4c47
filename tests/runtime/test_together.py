from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from components.runtime.together import Together


def test_who_comes_while_others_are_answered_is_answered_with_those_who_came_too() -> None:
    calls: list[list[int]] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(questions: Sequence[int]) -> list[int]:
        calls.append(list(questions))
        begun.set()
        go_on.wait(10)
        return [2 * question for question in questions]

    together = Together(work, most=3)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(together, 0)
        assert begun.wait(10)
        others = [pool.submit(together, number) for number in range(1, 6)]
        while len(together._waiting) < 5:
            pass
        go_on.set()
        assert first.result() == 0
        assert [other.result() for other in others] == [2, 4, 6, 8, 10]
    assert [len(call) for call in calls] == [1, 3, 2]


def test_a_question_that_cannot_be_answered_is_the_only_one_that_raises() -> None:
    def work(questions: Sequence[int]) -> list[float]:
        return [1 / question for question in questions]

    together = Together(work, most=8)
    with ThreadPoolExecutor(4) as pool, together._turn:
        asked = [pool.submit(together, number) for number in (0, 1, 2, 4)]
        while len(together._waiting) < 4:
            pass
    with pytest.raises(ZeroDivisionError):
        asked[0].result()
    assert [other.result() for other in asked[1:]] == [1.0, 0.5, 0.25]
