"""Answers per second of the service, beside a plain FastAPI and `mlflow models serve`: one bundle, equal processes.

All three run at the same time, each with as many replicas or workers, and are asked in turns. The service is the whole
of it: Ray Serve with its proxy, gateway, admission and figures. The clip is the drawn one that comes with the starter;
MLflow's server gets its path, the others the file. Features are those of the same clip.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from bench.service.promotions import START_S, Line, running
from components.features.base import Encoded
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE
from components.runtime.local_http import answer_of
from components.runtime.progress import progress
from components.serving.clips import clip_of_file
from components.serving.http.feature_body import SAFETENSORS
from components.serving.predictor import Predictor
from pipelines.commands.service.mlflow_server import free_port

TIMEOUT_S = 120.0
LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many turns of how many seconds each side has, with how many clients, and how many clients wait at most."""

    turns: int
    seconds: float
    clients: int
    many_clients: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What became of the requests of one turn: seconds of each answer, and how many were refused."""

    seconds: tuple[float, ...]
    refused: int
    lasted_s: float

    @property
    def rate_hz(self) -> float:
        """Answers per second."""
        return len(self.seconds) / self.lasted_s


Ask = Callable[[httpx.Client], httpx.Response]


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """A row for clips beside each of the others, two for features, and one for many clients."""
    clip, features = _clip(folder)
    body = {"clip": ("a.mp4", clip.read_bytes())}
    with running(folder / "service") as line, _others(line, folder) as (plain, mlflow):
        ours = line.service
        asks: dict[str, Ask] = {
            "ours": lambda client: client.post(f"{ours}/v1/predict", files=body),
            "plain": lambda client: client.post(f"{plain}/predict", files=body),
            "mlflow": lambda client: client.post(
                f"{mlflow}/invocations", json={"dataframe_records": [{"path": str(clip)}]}
            ),
        }
        kind = {"content-type": SAFETENSORS}
        of_features: dict[str, Ask] = {
            "ours": lambda client: client.post(f"{ours}/v1/predict:features", content=features, headers=kind),
            "plain": lambda client: client.post(f"{plain}/features", content=features, headers=kind),
        }
        for ask in (*asks.values(), *of_features.values()):
            asked(ask, clients=2, seconds=1.0)  # what only the first requests cost
        clips = in_turns(asks, sizes, sizes.clients)
        for other, name, goal in (("plain", "FastAPI and uvicorn", 1.0), ("mlflow", "mlflow models serve", 3.0)):
            yield row("clips of 4.6 s", name, clips[other], clips["ours"], clients=sizes.clients, goal=goal)
        for clients in (sizes.clients, sizes.many_clients):
            rows = in_turns(of_features, sizes, clients)
            yield row(
                "features of 4.6 s", "FastAPI and uvicorn", rows["plain"], rows["ours"], clients=clients, goal=1.5
            )
        many = asked(asks["ours"], clients=sizes.many_clients, seconds=sizes.turns * sizes.seconds)
        yield waits(clips["ours"], many, sizes)


def in_turns(asks: dict[str, Ask], sizes: Sizes, clients: int) -> dict[str, list[Asked]]:
    """Each side's turns, one after the other."""
    turns: dict[str, list[Asked]] = {name: [] for name in asks}
    with progress("turns", sizes.turns * len(asks)) as advance:
        for _ in range(sizes.turns):
            for name, ask in asks.items():
                turns[name].append(asked(ask, clients=clients, seconds=sizes.seconds))
                advance(1)
    return turns


def asked(ask: Ask, *, clients: int, seconds: float) -> Asked:
    """Clients that ask one time after the other for some seconds; a request that has begun is waited for."""
    took: list[float] = []
    refused: list[int] = []
    ready = threading.Barrier(clients + 1)

    def client() -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as own:
            ready.wait()  # making a client takes a while
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                at = time.monotonic()
                response = ask(own)
                if response.is_success:
                    took.append(time.monotonic() - at)
                elif response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    refused.append(response.status_code)
                    time.sleep(min(float(response.headers.get("retry-after", 1)), 1.0))
                else:
                    response.raise_for_status()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.monotonic()
    for thread in threads:
        thread.join()
    return Asked(seconds=tuple(took), refused=len(refused), lasted_s=time.monotonic() - begun)


def row(
    what: str, name: str, theirs: Sequence[Asked], ours: Sequence[Asked], *, clients: int, goal: float
) -> Comparison:
    """The seconds per answer of two sides, all clients together."""
    per_answer = [np.array([1 / turn.rate_hz for turn in turns]) for turns in (theirs, ours)]
    return Comparison(
        what=f"Throughput, {what}, {clients} clients, two processes each",
        unit="answer",
        baseline=Figure(name=name, amount=float(np.median(per_answer[0])), detail=_rate(theirs)),
        ours=Figure(name="the service", amount=float(np.median(per_answer[1])), detail=_rate(ours)),
        kind="gain",
        ratio=Spread.of(per_answer[0] / per_answer[1]),
        pairs=len(ours),
        goal=goal,
    )


def waits(few: Sequence[Asked], many: Asked, sizes: Sizes) -> Comparison:
    """How long an answer takes under few clients and under many."""
    of_few = np.array([second for turn in few for second in turn.seconds])
    of_many = np.array(many.seconds)
    refused = sum(turn.refused for turn in few)
    return Comparison(
        what="An answer to a clip of 4.6 s, 99 %",
        unit="clip",
        baseline=Figure(
            name=f"{sizes.clients} clients",
            amount=float(np.quantile(of_few, 0.99)),
            detail=f"median {np.median(of_few):.2f} s, {of_few.size} answers, {refused} refused for now",
        ),
        ours=Figure(
            name=f"{sizes.many_clients} clients",
            amount=float(np.quantile(of_many, 0.99)),
            detail=f"median {np.median(of_many):.2f} s, {of_many.size} answers, {many.refused} refused for now",
        ),
        kind="cost",
        ratio=Spread.of([float(np.quantile(of_many, 0.99) / np.quantile(of_few, 0.99))]),
        pairs=1,
        note="Refused for now: 503 with Retry-After, when both replicas' queues are full.",
    )


def _rate(turns: Sequence[Asked]) -> str:
    return f"{np.median([turn.rate_hz for turn in turns]):.2f} a second"


def _clip(folder: Path) -> tuple[Path, bytes]:
    """The drawn clip of the starter as a file, and its features as the body of a request."""
    (folder / "service").mkdir()
    bundle = load_bundle(BUNDLE)
    assert bundle.golden_clip is not None
    path = folder / "clip.mp4"
    path.write_bytes(bundle.golden_clip.media)
    predictor = Predictor(bundle)
    encoded = predictor.encoded(clip_of_file(path, predictor.guard))
    predictor.guard.close()
    predictor.encoders.close()
    return path, save({name: _rows(own) for name, own in encoded.items() if own.valid.any()})


def _rows(encoded: Encoded) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.where(encoded.valid[:, None], encoded.values, np.float32(np.nan)).astype(np.float32)


@contextmanager
def _others(line: Line, folder: Path) -> Iterator[tuple[str, str]]:
    """The addresses of the plain service and of MLflow's server, both answering."""
    workers = str(line.params.serving.replicas)
    name, alias = line.params.served_model, line.params.rollout.alias
    ports = [str(free_port(0, what, strict=True)) for what in ("plain", "MLflow's server")]
    plain = [sys.executable, "-m", "uvicorn", "bench.service.plain_service:make", "--factory", "--workers", workers]
    plain += ["--port", ports[0], "--log-level", "error"]
    served = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}@{alias}", "--workers", workers]
    served += ["--env-manager", "local", "--port", ports[1]]
    # MLflow starts `uvicorn` by its name, which is not on the path of a Python that was started by its own.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    variables = {**os.environ, "MLFLOW_TRACKING_URI": line.mlflow, "PATH": path}
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        started = []
        for number, command in enumerate((plain, served)):
            log = folder / f"other-{number}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(command, env=variables, stdout=out, stderr=out, start_new_session=True)
            stack.callback(_end, process)
            started.append((process, log))
        for address, path, (process, log) in zip(addresses, ("healthz", "ping"), started, strict=True):
            _wait(f"{address}/{path}", process, log)
        yield addresses[0], addresses[1]


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while answer_of(url, timeout_s=TIMEOUT_S) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(LOOK_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a server with its workers."""
    os.killpg(process.pid, 15)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)


BENCHMARK = Benchmark(
    question="how many answers a second, beside a plain FastAPI and mlflow models serve",
    run=run,
    full=Sizes(turns=4, seconds=8.0, clients=4, many_clients=32),
    quick=Sizes(turns=1, seconds=2.0, clients=2, many_clients=4),
)
