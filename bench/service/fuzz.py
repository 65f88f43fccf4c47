"""Thousands of requests that no client means: none is answered with 5xx, memory stays, and no file is left.

A replica of the starter behind its gateway is a process of its own, with a folder for temporary files of its own. Four
clients send requests that a seed draws: bent media, forms, words, features, paths and headers, and bytes that are no
HTTP. Its memory counts with all that it starts, as proportional set sizes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from bench.service.many_clips import write_clips
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE
from components.runtime.progress import progress
from components.serving.http.feature_body import SAFETENSORS

CLIENTS = 4
TIMEOUT_S = 120.0
# Module that a fork server is started for → what its children do.
KINDS_OF_CHILDREN = {
    "components.alignment.guard": "decoding",
    "components.features.guard": "encoding",
    "components.serving.http.feature_guard": "reading features",
}
SETTLE_S = 3.0
GOAL = 1.05
SERVER_ERROR = 500
NO_ANSWER = 0
ODD = ("\x00", "\ud800", "\u202e", "﷽", "𝔘" * 40, "'; --", "../../etc/passwd", "%00", "\r\nX: y", "NaN", "9" * 400, "")
OF_VERSIONS = ("/v1/version", "/v1/versions", "/v1/model", "/v1/model/card", "/v1/model/terms", "/v1/model/example")
PATHS = ("/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", *OF_VERSIONS)
POSTED = ("/v1/predict", "/v1/predict:features", "/v1/predict:batch", "/v1/pictures", "/v1/stream")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many requests, and how many before memory counts as that of the beginning."""

    requests: int
    warm: int


@dataclass(kw_only=True)
class Bent:
    """Draws requests; `media` are whole files, by name, and `posted` the paths that forms go to."""

    url: str
    media: dict[str, bytes]
    posted: tuple[str, ...] = POSTED
    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def send(self, number: int, client: httpx.Client) -> None:
        """Sends the request of a number and notes what came back."""
        rng = random.Random(number)
        kind = rng.choices(list(KINDS), weights=[weight for weight, _ in KINDS.values()])[0]
        try:
            status = KINDS[kind][1](self, rng, client)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as error:
            status = NO_ANSWER
            if isinstance(error, httpx.TimeoutException | httpx.ConnectError):
                self.bad.append(f"request {number}, {kind}: {error!r}")
        self.statuses[status] += 1
        if status >= SERVER_ERROR:
            self.bad.append(f"request {number}, {kind}: {status}")

    def of_media(self, rng: random.Random, client: httpx.Client) -> int:
        """A file with holes, changed bytes or a lost end."""
        name, whole = rng.choice(list(self.media.items()))
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4, 40))):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at:]
                case 2:
                    data[at : at + rng.randrange(1, 400)] = bytes(rng.randrange(1, 400))
                case _:
                    data[at:at] = data[at // 2 : at // 2 + 200]
            data = data or bytearray(b"x")
        suffix = rng.choice((Path(name).suffix, ".mp4", ".jpg", ""))
        return client.post(f"{self.url}/v1/predict", files={"clip": (f"a{suffix}", bytes(data))}).status_code

    def of_noise(self, rng: random.Random, client: httpx.Client) -> int:
        """Bytes that are no media, behind the first bytes of one or none."""
        head = rng.choice(
            (b"", b"RIFF\x24\x00\x00\x00WAVE", b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x18ftypmp42", b"\x80\x04")
        )
        body = head + rng.randbytes(rng.choice((0, 1, 50, 5000)))
        path = rng.choice(("/v1/predict", "/v1/pictures"))
        return client.post(f"{self.url}{path}", files={"clip": (rng.choice(ODD) or "a", body)}).status_code

    def of_fields(self, rng: random.Random, client: httpx.Client) -> int:
        """Fields beside a whole clip that say nothing of use."""
        name = rng.choice(("transcript", "words", "video_track", "audio_track", "other"))
        data = {name: rng.choice((*ODD, json.dumps(_value(rng, 3)), "a " * 3000)).encode("utf-8", "surrogatepass")}
        return client.post(
            f"{self.url}/v1/predict", files={"clip": ("a.wav", self.media["a.wav"])}, data=data
        ).status_code

    def of_form(self, rng: random.Random, client: httpx.Client) -> int:
        """A body that is nearly a form."""
        boundary = rng.choice(("b", "x" * 5000, "", '"b"', "b\x00"))
        parts = [b"--b\r\n", b'Content-Disposition: form-data; name="clip"; filename="a.wav"\r\n', b"\r\n", b"x" * 50]
        parts += [b"\r\n--b--\r\n", b"\r\n", b"--b", b"\x00", b"Content-Length: -1\r\n", rng.randbytes(30)]
        body = b"".join(rng.choices(parts, k=rng.randrange(1, 12)))
        kind = {"content-type": rng.choice((f"multipart/form-data; boundary={boundary}", "multipart/form-data", "a/b"))}
        return client.post(f"{self.url}{rng.choice(self.posted)}", content=body, headers=kind).status_code

    def of_features(self, rng: random.Random, client: httpx.Client) -> int:
        """Features of any shape, as JSON or nearly safetensors."""
        if rng.random() < 0.5:
            body, kind = json.dumps(_value(rng, 4)).encode(), "application/json"
        else:
            head = json.dumps({"voice": {"dtype": "F32", "shape": [rng.randrange(9), 384], "data_offsets": [0, 9]}})
            body = rng.choice((len(head), 1 << 62, 0)).to_bytes(8, "little") + head.encode() + rng.randbytes(200)
            kind = SAFETENSORS
        return client.post(f"{self.url}/v1/predict:features", content=body, headers={"content-type": kind}).status_code

    def of_path(self, rng: random.Random, client: httpx.Client) -> int:
        """Any method on any path, with any query and header."""
        path = rng.choice((*PATHS, *POSTED, "/v1/predict:batch/x", "/../../x", "//", "/%2e%2e/%00", "/" + "a" * 3000))
        headers = {"accept": rng.choice(("*/*", "text/csv", "image/png", "x" * 4000)), "x-request-id": "a" * 300}
        headers |= {"authorization": rng.choice(("Bearer " + "k" * 500, "Basic x", ""))} if rng.random() < 0.3 else {}
        method = rng.choice(("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "BREW"))
        query = rng.choice(("", "?why=x", "?why=true&why=no", "?" + "q=1&" * 500))
        return client.request(method, f"{self.url}{path}{query}", headers=headers).status_code

    def of_bytes(self, rng: random.Random, _: httpx.Client) -> int:
        """What is no HTTP; the status where there is one."""
        place = urlsplit(self.url)
        lines = [b"POST /v1/predict HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 5\r\n", b"\r\n", rng.randbytes(40)]
        lines += [b"Transfer-Encoding: chunked\r\n", b"GET / HTTP/9.9\r\n\r\n", b"Content-Length: 7\r\n", b"zz\r\n"]
        with socket.create_connection((str(place.hostname), int(place.port or 80)), timeout=2.0) as line:
            line.sendall(b"".join(rng.choices(lines, k=rng.randrange(1, 8))))
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(64)
        return int(answer[9:12]) if answer.startswith(b"HTTP/1.") and answer[9:12].isdigit() else NO_ANSWER


KINDS: dict[str, tuple[int, Callable[[Bent, random.Random, httpx.Client], int]]] = {
    "media": (10, Bent.of_media),
    "noise": (15, Bent.of_noise),
    "fields": (10, Bent.of_fields),
    "form": (25, Bent.of_form),
    "features": (10, Bent.of_features),
    "path": (20, Bent.of_path),
    "bytes": (10, Bent.of_bytes),
}


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """Memory after all requests over that after the first; the note says what came back, and what was left."""
    temporary = folder / "tmp"
    temporary.mkdir()
    write_clips(folder / "clips", 1)
    golden = load_bundle(BUNDLE).golden_clip
    assert golden is not None
    media = {"a.wav": (folder / "clips" / "000000.wav").read_bytes(), "a.mp4": golden.media}
    with _server(folder, temporary) as (pid, url):
        bent = Bent(url=url, media=media)
        kept = _files(temporary)
        begun = time.monotonic()
        parts = []
        for numbers in (range(sizes.warm), range(sizes.warm, sizes.requests)):
            _sent(bent, numbers)
            time.sleep(SETTLE_S)
            parts.append(_parts(pid))
        memory = [float(sum(part.values())) for part in parts]
        lasted_s = time.monotonic() - begun
        left = sorted(_files(temporary) - kept)
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(bent.statuses.items()))
    yield Comparison(
        what=f"memory of a replica with its children after {sizes.requests:,} bent requests",
        unit="run",
        baseline=Figure(name=f"after {sizes.warm:,}", amount=memory[0], detail=_mib(parts[0])),
        ours=Figure(name=f"after {sizes.requests:,}", amount=memory[1], detail=_mib(parts[1])),
        kind="cost",
        quantity="memory",
        ratio=Spread.of([memory[1] / memory[0]]),
        pairs=1,
        goal=GOAL,
        note=f"In {lasted_s:.0f} s. Statuses ({NO_ANSWER}: closed without one): {counts}. 5xx, or no answer in time: "
        f"{len(bent.bad)}{f', such as {bent.bad[:5]}' if bent.bad else ''}. Files left: {len(left)} {left[:3] or ''}",
    )


def _parts(pid: int) -> Counter[str]:
    """Memory of the server by what its processes do, in bytes: its own, and that of each kind of children with the
    process that they are forks of."""
    sizes: Counter[str] = Counter()
    server = psutil.Process(pid)
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.Error):
            command = process.cmdline()
            kind = KINDS_OF_CHILDREN.get(command[-1] if command else "", "others")
            sizes["server" if process == server else kind] += process.memory_full_info().pss
    return sizes


def _mib(sizes: Counter[str]) -> str:
    return ", ".join(f"{name} {size / (1 << 20):,.0f} MiB" for name, size in sorted(sizes.items()))


def _sent(bent: Bent, numbers: range) -> None:
    waiting = iter(numbers)
    lock = threading.Lock()

    def client() -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as own:
            while True:
                with lock:
                    number = next(waiting, None)
                    advance(1)
                if number is None:
                    return
                bent.send(number, own)

    with progress("requests", len(numbers) + CLIENTS) as advance:
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _value(rng: random.Random, deep: int) -> Any:
    """Any JSON value, a few levels deep."""
    match rng.randrange(7 if deep else 5):
        case 0:
            return rng.choice((None, True, -1, 1e308, 0.5, 10**30))
        case 1 | 2:
            return rng.choice(ODD)
        case 3:
            return [rng.random() for _ in range(rng.randrange(500))]
        case 4:
            return {"text": rng.choice(ODD), "start_s": rng.choice((0, -1, 1e9, "x")), "end_s": 1}
        case 5:
            return [_value(rng, deep - 1) for _ in range(rng.randrange(6))]
        case _:
            names = ("voice", "face", "text", "", *ODD[:3])
            return {rng.choice(names): _value(rng, deep - 1) for _ in range(rng.randrange(5))}


def _files(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                found.add(str(path.relative_to(folder)))
    return found


@contextmanager
def _server(folder: Path, temporary: Path) -> Iterator[tuple[int, str]]:
    """The process id and the address of a replica."""
    variables = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "bench.service.fuzz", str(folder)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, (folder / "server.log").read_text()
        yield process.pid, url
    finally:
        process.terminate()
        process.wait(60)


def serve(folder: Path) -> None:
    """The replica, until it is ended."""
    from bench.service.shadow import replica

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with replica(folder) as (_, url):
        print(url, flush=True)
        over.wait()


BENCHMARK = Benchmark(
    question="Do thousands of bent requests give a 5xx, cost memory, or leave a file?",
    run=run,
    full=Sizes(requests=10_000, warm=1_000),
    quick=Sizes(requests=120, warm=40),
)

if __name__ == "__main__":
    serve(Path(sys.argv[1]))
