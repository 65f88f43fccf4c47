"""Whether what the stages hold in memory grows with the corpus: alignment and features of ten times the clips.

Each side is a process of its own with a Ray of its own, so that neither inherits the other's memory. Its figure is the
largest sum, over that process and everything it started, of proportional set sizes: a page that several processes
share counts once. The clips are long sounds, so that what waits between the actors and the driver is much of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from bench.rerun import NAME, PEOPLE, RATE_HZ, parameters
from components.contracts.config import RayResources
from components.contracts.layout import Layout
from pipelines.memory import PeakMemory
from pipelines.stages import call_stage

TIMES = 10
GOAL = 1.15
EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The smaller corpus: clips, seconds of each, and the object store that both sides have."""

    clips: int
    seconds: float
    object_store_mb: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """Peak memory of the larger corpus over the smaller one's."""
    peaks = [_peak_bytes(folder / str(times), sizes, times * sizes.clips) for times in (1, TIMES)]
    yield Comparison(
        what=f"peak memory of alignment and features, sounds of {sizes.seconds:g} s",
        unit="run",
        baseline=Figure(name=f"{sizes.clips} clips", amount=peaks[0]),
        ours=Figure(name=f"{TIMES * sizes.clips} clips", amount=peaks[1]),
        kind="cost",
        quantity="memory",
        ratio=Spread.of([peaks[1] / peaks[0]]),
        pairs=1,
        goal=GOAL,
        note=f"All processes, PSS sampled every {EVERY_S} s; object store of {sizes.object_store_mb} MB.",
    )


def _peak_bytes(folder: Path, sizes: Sizes, clips: int) -> float:
    folder.mkdir()
    _write_corpus(folder / "corpus", clips, sizes.seconds)
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", str(folder), str(sizes.object_store_mb)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["clips"] == clips, figures
    return float(figures["peak_bytes"])


def _write_corpus(folder: Path, clips: int, seconds: float) -> None:
    """One recording under many names: its samples differ by a hair, so that no two have equal content."""
    folder.mkdir()
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = (0.3 * 32767 * np.sin(2 * np.pi * 220 * time_s)).astype(np.int16)
    lines = ["audio,subject,emotion,transcript"]
    for number in range(clips):
        wave[0] = number
        soundfile.write(folder / f"{number:05d}.wav", wave, RATE_HZ, subtype="PCM_16")
        lines.append(f"{number:05d}.wav,p{number % PEOPLE:02d},anger,so it is {number}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(folder: Path, object_store_mb: int) -> dict[str, float]:
    """Both stages in this process; how many clips were aligned, and the peak."""
    cores = len(os.sched_getaffinity(0))
    ray = RayResources(num_cpus=cores, object_store_mb=object_store_mb)
    params = parameters(cores).model_copy(update={"ray": ray})
    layout = Layout(folder)
    call_stage("datasets", params, layout, NAME)
    with PeakMemory(EVERY_S) as memory:
        aligned = call_stage("alignment", params, layout, NAME)["aligned_now"]
        call_stage("features", params, layout, NAME)
    return {"clips": aligned, "peak_bytes": memory.peak_bytes}


BENCHMARK = Benchmark(
    question="Does what the stages hold in memory grow with the corpus?",
    run=run,
    full=Sizes(clips=60, seconds=60.0, object_store_mb=160),
    quick=Sizes(clips=4, seconds=2.0, object_store_mb=80),
)

if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
