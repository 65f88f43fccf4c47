"""What the list of clips costs as a corpus grows: `python -m bench.catalog CLIPS...` prints time and memory of the
stage `catalog` up to its list and hashes (`build`), for made-up accepted clips. Each size is a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.catalog.catalog import Validated, build
from components.contracts.atomic import write_table
from components.contracts.config import Catalog
from components.contracts.labels import ABAW8
from components.validation.accepted import ACCEPTED_SCHEMA
from pipelines.memory import PeakMemory, tree_bytes

NAME = "made"
CLIPS_OF_A_PERSON, TEXTS = 20, 1000
MODALITIES = ("face", "voice")
EVERY_S = 0.05
ROWS_AT_ONCE = 10_000
RESULT = {
    "alignment_fingerprint": "0",
    "encoders": {name: {"spec": NAME, "fingerprint": "0", "width": 1} for name in MODALITIES},
    "fingerprint": "0",
}


def write_accepted(path: Path, clips: int) -> None:
    """The accepted clips of a made-up corpus; a quarter has two segments."""
    parts = [
        pa.Table.from_pylist(
            [_row(number) for number in range(first, min(first + ROWS_AT_ONCE, clips))], schema=ACCEPTED_SCHEMA
        )
        for first in range(0, clips, ROWS_AT_ONCE)
    ]
    write_table(path, pa.concat_tables(parts))


def _row(number: int) -> dict[str, Any]:
    person = f"{NAME}/p{number // CLIPS_OF_A_PERSON:06d}"
    emotion = ABAW8.classes[number % len(ABAW8.classes)]
    spans = [{"start_s": start_s, "end_s": start_s + 1.0, "emotion": emotion} for start_s in (0.5, 2.5)]
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return {
        "clip_id": f"{NAME}/{number:09d}",
        "dataset": NAME,
        "content_sha256": content,
        "subject_id": person,
        "session_id": f"{person}/{number % 2}",
        "emotion": emotion,
        "segments": spans if number % 4 == 0 else [],
        "text_id": f"{NAME}/t{number % TEXTS}",
        "groups": [("gender", "fm"[number % 2])],
        "planted": [],
        "duration_s": 5.0,
        "rate_hz": 10.0,
        "num_steps": 50,
        "keys": [(name, hashlib.sha256(f"{name}{number}".encode()).hexdigest()) for name in MODALITIES],
        "coverage": [(name, 1.0) for name in MODALITIES],
    }


def measure(path: Path) -> dict[str, float]:
    """Seconds of processor time, and the peak of memory above what the process had before."""
    before = tree_bytes(os.getpid())
    with PeakMemory(EVERY_S) as memory:
        started = time.process_time()
        accepted = pq.read_table(path, schema=ACCEPTED_SCHEMA)
        table, _ = build([Validated(dataset=NAME, accepted=accepted, result=RESULT)], ABAW8, Catalog(), 0)
        seconds = time.process_time() - started
    return {"clips": len(table), "seconds": seconds, "bytes": memory.peak_bytes - before}


def main(sizes: list[int]) -> None:
    """Prints a line per size."""
    for clips in sizes:
        with tempfile.TemporaryDirectory(prefix="mer-bench-") as folder:
            path = Path(folder) / "accepted.parquet"
            write_accepted(path, clips)
            done = subprocess.run(
                [sys.executable, "-m", "bench.catalog", str(path)], stdout=subprocess.PIPE, check=True
            )
        figures = json.loads(done.stdout)
        print(
            f"{figures['clips']:,} clips: {figures['seconds']:.1f} s, {figures['bytes'] / 1e6:,.0f} MB, "
            f"{figures['bytes'] / figures['clips'] / 1e3:.1f} kB per clip",
            flush=True,
        )


if __name__ == "__main__":
    if all(size.isdigit() for size in sys.argv[1:]):
        main([int(size) for size in sys.argv[1:]])
    else:
        print(json.dumps(measure(Path(sys.argv[1]))))
