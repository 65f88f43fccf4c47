"""How long from the moved alias until every replica has the version: with MLflow's webhook, and by polling alone.

Everything is real: an MLflow server, whose API moves the alias as its page does, Ray Serve with two replicas, and the
reconciler with its default `poll_s`. The alias goes to and fro between two versions of the starter, at moments that
have nothing to do with the polls; in turns the message of the webhook counts, and is ignored.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE, register_first
from components.rollout.reconcile import Loop
from components.rollout.versions import STATE
from components.rollout.webhook import secret_of
from components.rollout.webhook_server import listening
from components.runtime.local_http import answer_of
from components.runtime.progress import progress
from components.tracking.client import Client
from components.tracking.versions import LOGGED_MODEL, resolve, set_alias, set_tags, version_info
from components.tracking.webhooks import ensure_webhook, server_variables
from pipelines.commands.service.mlflow_server import free_port, mlflow_server, wait_ready
from pipelines.commands.service.reconciling import reconciler_of
from pipelines.ray_head import ray_head

CLIENTS = 4
OK = 200
START_S = 300.0
LOOK_S = 0.02
PROMISED_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many promotions each way; `part_s`: seconds after which no more begin, and a later run goes on."""

    promotions: int
    part_s: float = math.inf


@dataclass(kw_only=True)
class Line:
    """The running parts; `heard` is whether a message wakes the reconciler."""

    params: Params
    mlflow: str
    service: str
    heard: threading.Event
    versions: tuple[str, str]

    def promote(self, number: int) -> tuple[float, float]:
        """Moves the alias; seconds until every replica has the version, and until its tag says so."""
        name, version = self.params.served_model, self.versions[number % 2]
        time.sleep(random.random() * self.params.rollout.poll_s)
        begun = time.monotonic()
        set_alias(name, self.params.rollout.alias, version, tracking_uri=self.mlflow)
        answered = self._everywhere(version) - begun
        while True:
            info = version_info(name, version, tracking_uri=self.mlflow)
            if info is not None and info.tags.get(STATE) == "serving":
                return answered, time.monotonic() - begun
            time.sleep(LOOK_S)

    def _everywhere(self, version: str, within_s: float = PROMISED_S) -> float:
        """When each replica had answered with the version."""
        replicas: set[str] = set()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            answer = answer_of(f"{self.service}/v1/version", timeout_s=START_S)
            if answer is not None and answer.json()["version"] == version:
                replicas.add(answer.json()["replica"])
            if len(replicas) == self.params.serving.replicas:
                return time.monotonic()
            time.sleep(LOOK_S)
        raise TimeoutError(f"not every replica has version {version} after {within_s:g} s")


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row: to every replica, and in its note until the tag says so."""
    seconds: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with running(folder) as line, progress("promotions", 2 * sizes.promotions) as advance:
        for number in range(2 * sizes.promotions):
            heard = number // 2 % 2 == 0  # two of a kind, so that both versions are promoted in both ways
            (line.heard.set if heard else line.heard.clear)()
            seconds[heard].append(line.promote(number))
            advance(1)
    webhook, poll = (np.array(seconds[heard]) for heard in (True, False))
    pairs = min(len(webhook), len(poll))
    tags = "; ".join(
        f"{name}: {np.median(ways[:, 1]):.2f} s (95 %: {np.quantile(ways[:, 1], 0.95):.2f} s)"
        for name, ways in (("by polling", poll), ("by webhook", webhook))
    )
    yield Comparison(
        what=f"From the moved alias to {line.params.serving.replicas} replicas of the starter",
        unit="promotion",
        baseline=Figure(
            name=f"polls every {line.params.rollout.poll_s:g} s",
            amount=float(np.median(poll[:, 0])),
            detail=f"95 %: {np.quantile(poll[:, 0], 0.95):.2f} s",
        ),
        ours=Figure(
            name="webhook",
            amount=float(np.median(webhook[:, 0])),
            detail=f"95 %: {np.quantile(webhook[:, 0], 0.95):.2f} s",
        ),
        kind="gain",
        ratio=Spread.of(poll[:pairs, 0] / webhook[:pairs, 0]),
        pairs=pairs,
        note=f"Until the tag `{STATE}` is `serving`, {tags}.",
    )


@contextmanager
def running(folder: Path) -> Iterator[Line]:
    """All parts, with the first version in service."""
    layout = Layout(folder)
    params = Params.model_validate({"serving": {"port": free_port(0, "service", strict=True)}})
    secret, heard = secret_of(layout.webhook_secret), threading.Event()
    os.environ.pop("RAY_ADDRESS", None)
    with ExitStack() as stack:
        server = stack.enter_context(
            mlflow_server(
                store_uri=f"sqlite:///{folder / 'mlflow.db'}",
                artifacts=folder / "artifacts",
                port=free_port(0, "MLflow", strict=True),
                log=folder / "mlflow.log",
                variables=server_variables(secret),
            )
        )
        stack.enter_context(ray_head(params.ray))
        wait_ready(server.address, folder / "mlflow.log")
        loop = Loop(reconciler=reconciler_of(params, layout, server.address)[1], poll_s=params.rollout.poll_s)
        wake = lambda: loop.wake.set() if heard.is_set() else None  # noqa: E731
        url = stack.enter_context(listening(secret, wake, host="127.0.0.1", port=0))
        ensure_webhook(params.served_model, url, secret, tracking_uri=server.address)
        versions = _two_versions(params, folder, server.address)
        worker = threading.Thread(target=loop.run, daemon=True)
        worker.start()
        stack.callback(worker.join, 30)
        stack.callback(loop.halt)
        line = Line(
            params=params,
            mlflow=server.address,
            service=f"http://127.0.0.1:{params.serving.port}",
            heard=heard,
            versions=versions,
        )
        line._everywhere(versions[1], START_S)
        line.promote(0)  # what only the first change of all costs
        line.promote(1)
        yield line


def _two_versions(params: Params, folder: Path, uri: str) -> tuple[str, str]:
    """Two versions with the starter's bundle; the second has the alias."""
    tracking = params.tracking.model_copy(update={"uri": uri})
    name, alias = params.served_model, params.rollout.alias
    register_first(name=name, alias=alias, tracking=tracking, root=folder)
    first = resolve(name, alias, tracking_uri=uri)
    assert first is not None
    model = first.source.removeprefix(LOGGED_MODEL)
    made = Client(uri).create_model_version(name, source=first.source, run_id=first.run_id, model_id=model)
    second = str(made.version)
    set_tags(name, second, first.tags, tracking_uri=uri)
    set_alias(name, alias, second, tracking_uri=uri)
    return first.version, second


@dataclass(kw_only=True)
class Tally:
    """What became of the parts so far.

    Attributes:
        parts: how many there were.
        promoted: seconds from each moved alias to every replica.
        alone, changing: (status, seconds) of each request while no version changed, and while they did.
        lasted_s: of the changes.
    """

    parts: int = 0
    promoted: list[float] = field(default_factory=list)
    alone: list[tuple[int, float]] = field(default_factory=list)
    changing: list[tuple[int, float]] = field(default_factory=list)
    lasted_s: float = 0.0


def under_load(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """Promotions and rollbacks, as fast as they go, while clients post clips: a request that fails is an error."""
    kept = folder / "tally.json"
    tally = Tally(**json.loads(kept.read_text())) if kept.is_file() else Tally()
    _one_part(sizes, Path(tempfile.mkdtemp(prefix="part-", dir=folder)), tally)
    kept.write_text(json.dumps(asdict(tally)), encoding="utf-8")
    every = [*tally.alone, *tally.changing]
    failed = Counter(status for status, _ in every if status != OK)
    alone_s, changing_s = ([took for _, took in some] for some in (tally.alone, tally.changing))
    yield Comparison(
        what=f"An answer to a clip of 4.6 s, {CLIENTS} clients, while the version changes",
        unit="clip",
        baseline=Figure(name="no change", amount=float(np.median(alone_s)), detail=_tail(alone_s)),
        ours=Figure(
            name=f"{len(tally.promoted)} of {sizes.promotions} changes in {tally.lasted_s:.0f} s",
            amount=float(np.median(changing_s)),
            detail=_tail(changing_s),
        ),
        kind="cost",
        ratio=Spread.of([float(np.median(changing_s) / np.median(alone_s))]),
        pairs=1,
        note=f"{failed.total()} of {len(every)} requests failed{f': {dict(failed)}' if failed else ''}. From the moved "
        f"alias to every replica: median {np.median(tally.promoted):.2f} s, {_tail(tally.promoted)}. "
        f"In {tally.parts} part{'s' if tally.parts > 1 else ''}.",
    )


def _one_part(sizes: Sizes, folder: Path, tally: Tally) -> None:
    bundle = load_bundle(BUNDLE)
    assert bundle.golden_clip is not None
    with running(folder) as line, Posting(line.service, bundle.golden_clip.media) as posting:
        line.heard.set()
        tally.alone += posting.during(lambda: time.sleep(min(20.0, 2.0 * sizes.promotions)))
        before, begun = len(posting.all), time.monotonic()
        with progress("promotions", sizes.promotions - len(tally.promoted)) as advance:
            for version in itertools.cycle(line.versions):
                if len(tally.promoted) >= sizes.promotions or time.monotonic() > begun + sizes.part_s:
                    break
                moved = time.monotonic()
                set_alias(line.params.served_model, line.params.rollout.alias, version, tracking_uri=line.mlflow)
                tally.promoted.append(line._everywhere(version) - moved)
                advance(1)
        tally.lasted_s += time.monotonic() - begun
    tally.changing += posting.all[before:]  # with the last answers
    tally.parts += 1


class Posting:
    """Clients that post a clip one time after the other; `all` has the status and the seconds of each request."""

    def __init__(self, url: str, clip: bytes) -> None:
        self._url, self._clip = url, clip
        self.all: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post) for _ in range(CLIENTS)]

    def __enter__(self) -> Posting:
        """Starts them."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends them after their last answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def during(self, work: Callable[[], None]) -> list[tuple[int, float]]:
        """The requests that ended while something was done."""
        before = len(self.all)
        work()
        return self.all[before:]

    def _post(self) -> None:
        with httpx.Client(timeout=START_S, trust_env=False) as client:
            while not self._stop.is_set():
                begun = time.monotonic()
                try:
                    response = client.post(f"{self._url}/v1/predict", files={"clip": ("a.mp4", self._clip)})
                    status = response.status_code
                except httpx.HTTPError:
                    status = 0
                self.all.append((status, time.monotonic() - begun))


def _tail(seconds: Sequence[float]) -> str:
    return f"99 %: {np.quantile(seconds, 0.99):.2f} s, {len(seconds)} of them"


UNDER_LOAD = Benchmark(
    question="whether a request fails while versions are promoted and rolled back",
    run=under_load,
    full=Sizes(promotions=200, part_s=300.0),
    quick=Sizes(promotions=4),
)
BENCHMARK = Benchmark(
    question="how long from the moved alias to every replica, by webhook and by polling",
    run=run,
    full=Sizes(promotions=12),
    quick=Sizes(promotions=2),
)
