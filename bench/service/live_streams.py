"""Live streams side by side: how long after it happens a step is there, and whether the service keeps up.

The gateway and replicas of the service stand in this process, without Ray; their guarded children, which do nearly all
of the work, are processes as always. Each stream is a rendered talker, sent at its own pace.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from components.contracts.config import MediaLimits, Serving
from components.datasets.synthetic.media import render
from components.datasets.synthetic.plan import plan_clip
from components.media.pieces import Piece
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE
from components.runtime.progress import progress
from components.serving.assignment import VersionRef
from components.serving.http.app import create_app
from components.serving.http.gateway import Gateway
from components.serving.live.capture import all_pieces
from components.serving.live.protocol import Begin, binary
from components.serving.service import Service, ServiceSettings

APART_S = 0.13  # between the beginnings of two streams
PICTURE_PX = 320


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many streams at a time, how long each, and how many replicas judge them."""

    streams: tuple[int, ...]
    seconds: float
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """One stream: when its last step was there, from its beginning on; for each step how long after it ended; and the
    code of the problem that ended it early, if one did."""

    lasted_s: float
    late_s: tuple[float, ...]
    problem: str | None = None


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row per number of streams."""
    plan = plan_clip(seed=0, subject=0, clip=0, picture_px=PICTURE_PX)
    render(plan, folder)
    begin, clip = all_pieces(folder / f"{plan.file_stem}.mp4", MediaLimits())
    sent = repeated(clip, sizes.seconds)
    with _service(folder, sizes) as address, progress("streams", len(sizes.streams)) as advance:
        asyncio.run(_together(address, begin, sent, 1))  # what only the first part of all costs
        for count in sizes.streams:
            streamed = asyncio.run(_together(address, begin, sent, count))
            yield row(streamed, sizes)
            advance(1)


def row(streamed: Sequence[Streamed], sizes: Sizes) -> Comparison:
    """The figures of streams that ran at a time."""
    late_s = np.concatenate([np.array(stream.late_s) for stream in streamed])
    lasted_s = [stream.lasted_s for stream in streamed]
    median_s, most_s = np.quantile(late_s, [0.5, 0.95]) if late_s.size else (np.nan, np.nan)
    problems = [stream.problem for stream in streamed if stream.problem]
    ended = f"; {len(problems)} ended early: {', '.join(sorted(set(problems)))}" if problems else ""
    return Comparison(
        what=f"{len(streamed)} live stream{'s' * (len(streamed) != 1)} of {sizes.seconds:g} s with picture and sound, "
        f"{sizes.replicas} replicas",
        unit="stream",
        baseline=Figure(name="as long as it lasts", amount=sizes.seconds),
        ours=Figure(
            name="its last step is there after",
            amount=float(np.median(lasted_s)),
            detail=f"a step is there {median_s:.2f} s after it happened (95 %: {most_s:.2f} s){ended}",
        ),
        kind="cost",
        ratio=Spread.of(lasted / sizes.seconds for lasted in lasted_s),
        pairs=len(streamed),
    )


def repeated(clip: Sequence[Piece], seconds: float) -> list[Piece]:
    """The pieces of a clip again and again, for some seconds."""
    length_s = max(piece.at_s for piece in clip) + 0.1
    pieces = (
        Piece(kind=piece.kind, at_s=turn * length_s + piece.at_s, data=piece.data)
        for turn in itertools.count()
        for piece in sorted(clip, key=lambda piece: piece.at_s)
    )
    return list(itertools.takewhile(lambda piece: piece.at_s < seconds, pieces))


async def _together(address: str, begin: Begin, sent: Sequence[Piece], count: int) -> list[Streamed]:
    return list(
        await asyncio.gather(*(one_stream(address, begin, sent, after_s=APART_S * index) for index in range(count)))
    )


async def one_stream(address: str, begin: Begin, sent: Sequence[Piece], *, after_s: float = 0.0) -> Streamed:
    """Sends a stream at its own pace, without an answer of the whole, and times its steps."""
    await asyncio.sleep(after_s)
    async with connect(f"{address.replace('http', 'ws')}v1/stream", proxy=None, max_size=None) as line:
        await line.send(begin.model_copy(update={"answer": False}).model_dump_json())
        assert json.loads(await line.recv())["type"] == "begun"
        began = time.monotonic()

        async def send() -> None:
            for piece in sent:
                await asyncio.sleep(max(0.0, began + piece.at_s - time.monotonic()))
                await line.send(binary(piece))
            await line.send('{"type": "end"}')

        sending = asyncio.create_task(send())
        late_s: list[float] = []
        lasted_s = 0.0
        problem: str | None = None
        try:
            while (message := json.loads(await line.recv()))["type"] == "steps":
                lasted_s = time.monotonic() - began
                late_s += [lasted_s - moment["end_s"] for moment in message["moments"]]
            problem = message["error"]["code"] if message["type"] == "problem" else None
        except ConnectionClosed as closed:
            problem = str(closed)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return Streamed(lasted_s=lasted_s, late_s=tuple(late_s), problem=problem)


@contextmanager
def _service(folder: Path, sizes: Sizes) -> Iterator[str]:
    """The address of the starter, behind the gateway."""
    cache = folder / "cache"
    cache.mkdir()
    sha256 = load_bundle(BUNDLE).sha256
    (cache / sha256).symlink_to(BUNDLE)
    serving = Serving()
    settings = ServiceSettings(
        cache=cache,
        limits=serving.upload_limits,
        golden_tolerance=1e-3,
        alias="champion",
        at_once=serving.max_ongoing_requests,
        waiting=serving.max_queued_requests,
    )
    services = [Service(settings, replica=str(number)) for number in range(sizes.replicas)]
    reference = VersionRef(model_name="starter", version="1", bundle_sha256=sha256, tracking_uri="http://127.0.0.1:9")
    for service in services:
        service.load(reference.model_dump())
    server = uvicorn.Server(
        uvicorn.Config(
            Gateway(_InTurns([create_app(service) for service in services]), serving),
            port=0,
            log_level="error",
            lifespan="off",
        )
    )
    worker = threading.Thread(target=server.run)
    worker.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        worker.join()


class _InTurns:
    """Several applications, each of which gets every n-th request."""

    def __init__(self, apps: Sequence[ASGIApp]) -> None:
        self._apps = itertools.cycle(apps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await next(self._apps)(scope, receive, send)


BENCHMARK = Benchmark(
    question="live streams side by side: does the service keep up, and how late are steps",
    run=run,
    full=Sizes(streams=(1, 8, 32), seconds=60.0, replicas=2),
    quick=Sizes(streams=(1, 8, 32), seconds=10.0, replicas=2),
)
