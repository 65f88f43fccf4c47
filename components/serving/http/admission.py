"""Who may predict now: a few requests at a time, a few that wait, and a refusal at once for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from components.contracts.codes import Code
from components.contracts.errors import UnavailableError
from components.runtime.patience import Patience
from components.serving.metrics import QUEUE, metrics

LOOK_S = 0.2  # how often work that yields to requests looks whether there are any


class Admission:
    """The places of one replica, for predictions alone: whatever else it answers never waits for them.

    Args:
        at_once: predictions at a time.
        waiting: further requests that may wait, of each of the two kinds.
        light: predictions at a time, beside those, that cost little more together than one alone.
    """

    def __init__(self, *, at_once: int, waiting: int, light: int = 0) -> None:
        self._at_once = at_once
        self._most = {False: at_once + waiting, True: light + waiting}  # by whether they may be light
        self._here = {False: 0, True: 0}
        self._turns = asyncio.Semaphore(at_once)
        self._light = asyncio.Semaphore(light) if light else self._turns
        self._quiet, self._arrived = asyncio.Event(), asyncio.Event()
        self._quiet.set()

    @property
    def present(self) -> int:
        """Requests that are here."""
        return sum(self._here.values())

    async def quiet(self) -> None:
        """Returns when no request is here."""
        await self._quiet.wait()

    async def arrival(self) -> None:
        """Returns when a request is here; the next one, where there is none now."""
        if not self.present:
            self._arrived.clear()
            await self._arrived.wait()

    @contextmanager
    def waiting(self, *, light: bool = False) -> Iterator[None]:
        """Counts a request, one of a kind that may be `light`; raises UnavailableError (`busy`) before any work where
        too many of its kind are here."""
        if self._here[light] >= self._most[light]:
            raise _busy("the queue is full", f"{self._here[light]} requests")
        self._here[light] += 1
        self._quiet.clear()
        self._arrived.set()
        try:
            yield
        finally:
            self._here[light] -= 1
            if not self.present:
                self._quiet.set()

    @asynccontextmanager
    async def turn(self, patience: Patience, *, light: bool = False) -> AsyncIterator[None]:
        """Waits for the turn of a request; raises UnavailableError (`busy`) where its patience ends first."""
        turns = self._light if light else self._turns
        try:
            with metrics().waiting.track_inprogress(), metrics().stage(QUEUE):
                async with asyncio.timeout(patience.remaining_s):
                    await turns.acquire()
        except TimeoutError as error:
            raise _busy("there was no time for this request", f"others took {patience.wall_s:g} s") from error
        try:
            with metrics().running.track_inprogress():
                yield
        finally:
            turns.release()

    @asynccontextmanager
    async def left_over(self) -> AsyncIterator[None]:
        """A turn that no request wants: while fewer are here than may run, so that one that comes has a place."""
        while self.present >= self._at_once or self._turns.locked():
            await asyncio.sleep(LOOK_S)
        async with self._turns:
            yield


def _busy(what: str, seen: str) -> UnavailableError:
    return UnavailableError(what, where="service", seen=seen, remedy="Send it again later.", code=Code.BUSY)
