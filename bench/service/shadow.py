"""What a challenger on trial costs those who ask: the time of an answer with a shadow beside the version, and without.

A replica stands in this process, without Ray; its guarded children are processes as always. Clients post a rendered
clip one after the other, with a pause, so that there is time to compare, and without any, so that there is little. The
shadow comes and goes in turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from components.contracts.config import Serving
from components.datasets.synthetic.media import render
from components.datasets.synthetic.plan import plan_clip
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE
from components.runtime.progress import progress
from components.serving.assignment import Assignment, Trial
from components.serving.http.app import create_app
from components.serving.http.gateway import Gateway
from components.serving.service import BatchSettings, Service, ServiceSettings
from components.serving.trial import TrialCounts

PICTURE_PX = 320
PAUSE_S = 0.5
TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many turns of each kind, and how many clips in each."""

    turns: int
    clips: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """A row for one client that pauses, and one for two that do not."""
    plan = plan_clip(seed=0, subject=0, clip=0, picture_px=PICTURE_PX)
    render(plan, folder)
    clip = (folder / f"{plan.file_stem}.mp4").read_bytes()
    with replica(folder) as (service, url), progress("turns", 4 * sizes.turns) as advance:
        plain, shadow = assignments(folder)
        posted(url, clip, clients=1, clips=2, pause_s=0.0)  # what only the first ones cost
        for clients, pause_s in ((1, PAUSE_S), (2, 0.0)):
            seconds: dict[bool, list[float]] = {True: [], False: []}
            counts = TrialCounts(trial="")
            for turn in range(2 * sizes.turns):
                on = turn % 2 == 1
                service.load((shadow if on else plain).to_config())
                seconds[on] += posted(url, clip, clients=clients, clips=sizes.clips, pause_s=pause_s)
                counts += service.trial_counts() or TrialCounts(trial="")
                advance(1)
            yield row(seconds[False], seconds[True], counts, clients=clients, pause_s=pause_s)


def row(
    without: Sequence[float], with_it: Sequence[float], counts: TrialCounts, *, clients: int, pause_s: float
) -> Comparison:
    """The figures of one kind of load."""
    pairs = min(len(without), len(with_it))
    return Comparison(
        what=f"An answer to a clip of 8 s, {clients} client{'s' * (clients > 1)}, "
        + (f"a pause of {pause_s:g} s" if pause_s else "no pause"),
        unit="clip",
        baseline=Figure(
            name="alone", amount=float(np.median(without)), detail=f"95 %: {np.quantile(without, 0.95):.2f} s"
        ),
        ours=Figure(
            name="with a shadow",
            amount=float(np.median(with_it)),
            detail=f"95 %: {np.quantile(with_it, 0.95):.2f} s; {counts.compared} compared, {counts.dropped} dropped",
        ),
        kind="cost",
        ratio=Spread.of(np.array(with_it[:pairs]) / np.array(without[:pairs])),
        pairs=pairs,
    )


def posted(url: str, clip: bytes, *, clients: int, clips: int, pause_s: float) -> list[float]:
    """Seconds until the answer, of each clip that clients post one after the other."""
    seconds: list[float] = []

    def post() -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            for _ in range(clips):
                begun = time.monotonic()
                client.post(f"{url}/v1/predict", files={"clip": ("a.mp4", clip)}).raise_for_status()
                seconds.append(time.monotonic() - begun)
                time.sleep(pause_s)

    threads = [threading.Thread(target=post) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


def assignments(folder: Path) -> tuple[Assignment, Assignment]:
    """The starter, and the starter with itself as the challenger."""
    sha256 = load_bundle(BUNDLE).sha256
    plain = Assignment(
        model_name="starter", version="1", bundle_sha256=sha256, tracking_uri=f"sqlite:///{folder / 'none.db'}"
    )
    challenger = plain.version_alone.model_copy(update={"version": "2"})
    return plain, plain.model_copy(update={"trial": Trial(challenger=challenger)})


@contextmanager
def replica(folder: Path) -> Iterator[tuple[Service, str]]:
    """A replica of the starter behind its gateway, and the address."""
    cache = folder / "cache"
    cache.mkdir()
    (cache / load_bundle(BUNDLE).sha256).symlink_to(BUNDLE)
    serving = Serving()
    settings = ServiceSettings(
        cache=cache,
        limits=serving.upload_limits,
        golden_tolerance=1e-3,
        alias="champion",
        wall_s=serving.request_timeout_s,
        at_once=serving.max_ongoing_requests,
        waiting=serving.max_queued_requests,
        batches=BatchSettings.of(serving, folder / "batches"),
    )
    service = Service(settings)
    service.load(assignments(folder)[0].to_config())
    app = Gateway(create_app(service), serving)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    worker = threading.Thread(target=server.run)
    worker.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield service, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        worker.join()


BENCHMARK = Benchmark(
    question="what a challenger on trial costs those who ask",
    run=run,
    full=Sizes(turns=2, clips=4),
    quick=Sizes(turns=1, clips=2),
)
