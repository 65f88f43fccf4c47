"""Features in an object store against the same ones on the local disk: until training can begin, and an epoch then.

A node reads every shard once, into the file that training reads (`catalog/packed.py`); the epochs after that read the
same file, or, with `runtime.cache_mb`, each clip from the store unless the node still has it. The server is moto's, in
a process of its own on this machine, so a network is not part of it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.benchmark import Benchmark
from bench.pairs import PairedTimes, alternate
from bench.report import Outcome
from bench.training.made import NAME, write_catalog
from components.catalog.examples import Example, read_catalog
from components.catalog.packed import BYTES_PER_MB, packed_bytes, read_examples
from components.contracts.layout import Layout
from components.datasets import remote
from components.runtime.on_demand import some_at
from components.training.nodes.materials import publish

BUCKET = "made"
STEPS, BATCH = 50, 32
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
    """Two rows: all features into the file, and each clip read from it once; and each clip from the store through a
    cache for half of them, against that file."""
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
        bounded = _bounded(layout, address, folder, sizes)
    yield measured.compared(
        "local disk",
        "S3 server on this machine",
        what=f"{sizes.clips:,} clips of {STEPS} steps, four modalities ({size / 1e6:.0f} MB of shards), into the file "
        "that training reads, and each clip from it once",
        unit="time",
        note="The epochs that follow read the same file, whatever it was made of.",
    )
    yield bounded.compared(
        "from that file",
        "from the store, with a cache for half of them",
        what=f"an epoch of {sizes.clips:,} clips in the order of training, read alone",
        unit="epoch",
    )


def _bounded(layout: Layout, address: str, folder: Path, sizes: Sizes) -> PairedTimes:
    """Epochs of single clips, each in an order of its own, from the file and through the cache."""
    (folder / "transform").mkdir()
    cache_mb = packed_bytes(*read_catalog(layout)) / 2 / BYTES_PER_MB
    store = address.rpartition("/")[0]
    materials = publish(
        layout, store, "bounded", transform=folder / "transform", start=None, datasets=[NAME], cache_mb=cache_mb
    )
    away = materials.packed_away(cache_mb)
    assert away is not None  # as they take twice that
    here, rng = read_examples(layout, "train", memory_mb=0), np.random.default_rng(0)

    def epoch(clips: Sequence[Example]) -> None:
        order = rng.permutation(sizes.clips).tolist()
        for first in range(0, sizes.clips, BATCH):
            some_at(clips, order[first : first + BATCH])

    return alternate(lambda: epoch(here), lambda: epoch(away), pairs=sizes.pairs, warmup=1, what="epochs from both")


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
