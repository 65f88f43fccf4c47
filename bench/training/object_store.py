"""Features in an object store against the same ones on the local disk: until training can begin, and an epoch then.

A node reads every shard once, into the file that training reads (`catalog/packed.py`); the epochs after that read the
same file. The server is moto's, in a process of its own on this machine, so a network is not part of it. Nor are single
clips read from the store (`runtime.cache_mb`): moto copies an object for each part of it that is asked for.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.pairs import alternate
from bench.report import Outcome
from bench.training.made import NAME, write_catalog
from components.catalog.packed import read_examples
from components.contracts.layout import Layout
from components.datasets import remote

BUCKET = "made"
STEPS = 50
PATIENCE_S = 60
KEYS = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "made",
    "AWS_SECRET_ACCESS_KEY": "made",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Clips, and how often each side reads them."""

    clips: int
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row: all features into the file, and each clip read from it once."""
    layout = Layout(folder / "project")
    write_catalog(layout, clips=sizes.clips, distinct=sizes.clips, steps=STEPS)
    features = layout.features(NAME)
    size = sum(path.stat().st_size for path in features.rglob("*") if path.is_file())
    with object_store() as address:
        place = remote.place_of(address, where="bench")
        for path in sorted(features.rglob("*.parquet")):
            remote.put(path, place, f"{NAME}/{path.relative_to(features).as_posix()}")

        def read(source: str | None) -> None:
            shutil.rmtree(layout.packed, ignore_errors=True)
            for _ in read_examples(layout, "train", memory_mb=0, address=source):
                pass

        measured = alternate(
            lambda: read(None), lambda: read(address), pairs=sizes.pairs, warmup=1, what="features from both"
        )
    yield measured.compared(
        "local disk",
        "S3 server on this machine",
        what=f"{sizes.clips:,} clips of {STEPS} steps, four modalities ({size / 1e6:.0f} MB of shards), into the file "
        "that training reads, and each clip from it once",
        unit="time",
        note="The epochs that follow read the same file, whatever it was made of.",
    )


@contextmanager
def object_store() -> Iterator[str]:
    """The address of an empty bucket on a server that runs while the block does."""
    import pyarrow.fs as pafs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = dict(os.environ)
    os.environ.update(KEYS, AWS_ENDPOINT_URL=endpoint)
    try:
        _wait_for(port)
        pafs.S3FileSystem(region="us-east-1", endpoint_override=endpoint, allow_bucket_creation=True).create_dir(BUCKET)
        yield f"s3://{BUCKET}/features"
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.terminate()
        server.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


BENCHMARK = Benchmark(
    question="features in an object store against the same ones on the local disk, until training has read each once",
    run=run,
    full=Sizes(clips=1152, pairs=5),
    quick=Sizes(clips=8, pairs=1),
)
