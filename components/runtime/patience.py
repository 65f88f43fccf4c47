"""How long a caller waits for an answer: until a deadline, or until it gives up.

A thread cannot be ended from outside. What works for a caller in a thread, such as a guarded child, is handed the
caller's patience, waits no longer than that, and registers how it is ended when the caller gives up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.1  # how often a wait for a lock looks whether the caller has given up


class GivenUpError(Exception):
    """The caller has given up: nobody reads the answer."""


class OutOfTimeError(Exception):
    """The deadline passed before the work began."""


class Patience:
    """The patience of one caller.

    Args:
        wall_s: seconds by the clock, from now; None: no deadline.
    """

    def __init__(self, wall_s: float | None = None) -> None:
        self.wall_s = wall_s
        self._end = None if wall_s is None else time.monotonic() + wall_s
        self._lock = threading.Lock()
        self._given_up = False
        self._enders: list[Callable[[], None]] = []

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    @property
    def given_up(self) -> bool:
        """Whether the caller has given up."""
        return self._given_up

    def give_up(self) -> None:
        """Ends what is being done for the caller, and lets nothing further begin."""
        with self._lock:
            self._given_up = True
            for end in self._enders:
                end()

    def check(self) -> None:
        """Raises GivenUpError or OutOfTimeError if the caller no longer waits."""
        if self._given_up:
            raise GivenUpError
        if self.remaining_s == 0.0:
            raise OutOfTimeError

    @contextmanager
    def until(self, end: Callable[[], None]) -> Iterator[None]:
        """Calls `end`, from the thread of the caller, if it gives up within the block. Raises as `check`."""
        with self._lock:
            self.check()
            self._enders.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._enders.remove(end)

    @contextmanager
    def turn(self, lock: threading.Lock) -> Iterator[None]:
        """Holds a lock; raises as `check` where the caller's patience ends before its turn comes."""
        while not lock.acquire(timeout=LOOK_S):
            self.check()
        try:
            self.check()
            yield
        finally:
            lock.release()
