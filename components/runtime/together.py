"""Work that several threads ask for at the same time, done together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

Question = TypeVar("Question")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Asked(Generic[Question, Result]):
    question: Question
    result: Result | None = None
    error: Exception | None = None
    done: bool = False


class Together(Generic[Question, Result]):
    """A function of many questions, called by threads that have one each.

    A thread that finds nobody at work begins at once, so a lonely question never waits. Those that come meanwhile wait,
    and are then answered in one call. Where a call of several raises, each of them is asked alone.

    Args:
        work: the results of questions, in their order; called by one thread at a time.
        most: questions of one call.
    """

    def __init__(self, work: Callable[[Sequence[Question]], Sequence[Result]], most: int) -> None:
        self._work, self._most = work, most
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._waiting: list[_Asked[Question, Result]] = []

    def __call__(self, question: Question) -> Result:
        """The result of one question; raises what `work` raises on it alone."""
        own: _Asked[Question, Result] = _Asked(question)
        with self._lock:
            self._waiting.append(own)
        while not own.done:
            with self._turn:
                if not own.done:
                    self._answer()
        if own.error is not None:
            raise own.error
        return cast(Result, own.result)

    def _answer(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            results = self._work([asked.question for asked in batch])
            for asked, result in zip(batch, results, strict=True):
                asked.result = result
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            else:
                self._one_by_one(batch)
        for asked in batch:
            asked.done = True

    def _one_by_one(self, batch: Sequence[_Asked[Question, Result]]) -> None:
        for asked in batch:
            try:
                (asked.result,) = self._work([asked.question])
            except Exception as error:
                asked.error = error
