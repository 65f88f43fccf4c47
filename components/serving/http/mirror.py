"""Mirrored clips: judged by the other side of a trial after the answer was sent, and only while nobody waits.

A few clips may wait for a quiet moment; one more is dropped, and one that is being judged is given up when a request
comes. Everything that is dropped is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from components.runtime.patience import Patience
from components.serving.http.admission import Admission
from components.serving.trial import Mirrored

WAITING = 2


class Mirror:
    """The mirrored clips of one replica.

    Args:
        admission: of its predictions.
        wall_s: the longest that a clip may take, seconds; None: any.
    """

    def __init__(self, admission: Admission, wall_s: float | None) -> None:
        self._admission = admission
        self._wall_s = wall_s
        self._waiting: deque[Mirrored] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._work: asyncio.Task[None] | None = None

    @property
    def alone(self) -> bool:
        """Whether one request alone is here."""
        return self._admission.present == 1

    async def offer(self, clip: Mirrored) -> None:
        """Takes a clip, or drops it where enough wait; returns at once."""
        if len(self._waiting) >= WAITING:
            clip.drop()
            clip.over()
            return
        self._waiting.append(clip)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._all())

    async def _all(self) -> None:
        while self._waiting:
            await self._admission.quiet()
            clip = self._waiting.popleft()
            try:
                await self._one(clip)
            finally:
                clip.over()

    async def _one(self, clip: Mirrored) -> None:
        patience = Patience(self._wall_s)
        work = asyncio.get_running_loop().run_in_executor(self._thread, clip.run, patience)
        arrival = asyncio.create_task(self._admission.arrival())
        await asyncio.wait({work, arrival}, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        if not work.done():
            patience.give_up()
        await work
