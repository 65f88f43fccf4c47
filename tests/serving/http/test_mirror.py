"""Mirrored clips wait for a quiet moment, and are dropped first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from components.runtime.patience import Patience
from components.serving.http.admission import Admission
from components.serving.http.mirror import WAITING, Mirror


@dataclass(eq=False)
class Clip:
    """Work that lasts until it is given up, or for a while."""

    seconds: float = 0.0
    state: str = "waits"
    closed: int = 0

    def run(self, patience: Patience) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not patience.given_up:
            time.sleep(0.005)
        self.state = "dropped" if patience.given_up else "judged"

    def drop(self) -> None:
        self.state = "dropped"

    def over(self) -> None:
        self.closed += 1


def run(story: Callable[[Mirror, Admission], Awaitable[None]]) -> None:
    async def told() -> None:
        admission = Admission(at_once=1, waiting=4)
        async with asyncio.timeout(20):
            await story(Mirror(admission, None), admission)

    asyncio.run(told())


async def settled(*clips: Clip) -> None:
    while not all(clip.closed for clip in clips):
        await asyncio.sleep(0.005)


def test_clips_are_judged_one_after_the_other_when_nothing_is_to_be_done() -> None:
    async def story(mirror: Mirror, _: Admission) -> None:
        clips = [Clip(seconds=0.02) for _ in range(WAITING)]
        for clip in clips:
            await mirror.offer(clip)  # type: ignore[arg-type]
        assert {clip.state for clip in clips} == {"waits"}  # at once, without waiting for any
        await settled(*clips)
        assert [(clip.state, clip.closed) for clip in clips] == [("judged", 1)] * WAITING

    run(story)


def test_while_requests_are_here_clips_wait_and_those_too_many_are_dropped() -> None:
    async def story(mirror: Mirror, admission: Admission) -> None:
        clips = [Clip() for _ in range(WAITING + 2)]
        with admission.waiting():
            assert mirror.alone
            for clip in clips:
                await mirror.offer(clip)  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
            states = [(clip.state, clip.closed) for clip in clips]
            assert states == [("waits", 0)] * WAITING + [("dropped", 1)] * 2
        await settled(*clips[:WAITING])
        assert {clip.state for clip in clips[:WAITING]} == {"judged"}

    run(story)


def test_a_request_that_arrives_ends_the_work_on_a_clip_at_once() -> None:
    async def story(mirror: Mirror, admission: Admission) -> None:
        long, next_one = Clip(seconds=15.0), Clip()
        await mirror.offer(long)  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        await mirror.offer(next_one)  # type: ignore[arg-type]
        with admission.waiting():
            await settled(long)
            assert (long.state, next_one.state) == ("dropped", "waits")
        await settled(next_one)
        assert next_one.state == "judged"

    run(story)


@pytest.mark.parametrize("requests", [1, 3])
def test_it_is_quiet_only_when_the_last_request_has_left(requests: int) -> None:
    async def story(mirror: Mirror, admission: Admission) -> None:
        clip = Clip()
        places = [admission.waiting() for _ in range(requests)]
        for place in places:
            place.__enter__()
        await mirror.offer(clip)  # type: ignore[arg-type]
        for place in places:
            await asyncio.sleep(0.02)
            assert clip.state == "waits"
            place.__exit__(None, None, None)
        await settled(clip)

    run(story)
