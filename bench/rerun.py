"""What a run costs over a corpus that is already there: nothing changed, and one clip in a hundred is new.

The corpus is a manifest of short sounds: so little to decode and encode that what the project does beside them is not
hidden behind it; with real clips a second run costs the same and the first one far more. Timed are the stages datasets,
alignment and features, called as their commands call them. `mer run` would not even start them where nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from bench.benchmark import Benchmark
from bench.pairs import timed
from bench.report import Comparison, Figure, Outcome, Spread
from bench.stages import one_ray
from components.contracts.config import Alignment, FaceAlignment, Features, Params, RayResources, VoiceAlignment
from components.contracts.layout import Layout
from pipelines.stages import call_stage

NAME = "manifest"
RATE_HZ = 16_000
SECONDS = 0.3
EMOTIONS = ("anger", "happiness", "sadness", "neutral")
PEOPLE = 50


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many clips, and how often the second run is taken."""

    clips: int
    runs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """The second run against the first; a run with one clip in a hundred new against the first."""
    cores = len(os.sched_getaffinity(0))
    params = parameters(cores)
    layout = Layout(folder / "project")
    write_corpus(layout.root, range(sizes.clips))
    with one_ray(params.ray):
        first_s = timed(lambda: _stages(params, layout, expect=sizes.clips))
        again_s = [timed(lambda: _stages(params, layout, expect=0)) for _ in range(sizes.runs)]
        more = max(1, sizes.clips // 100)
        write_corpus(layout.root, range(sizes.clips + more))
        more_s = timed(lambda: _stages(params, layout, expect=more))
    what = f"{sizes.clips:,} sounds of {SECONDS} s"
    first = Figure(name="first run", amount=first_s)
    yield Comparison(
        what=f"nothing changed, {what}",
        unit="run",
        baseline=first,
        ours=Figure(name="second run", amount=Spread.of(again_s).median),
        kind="gain",
        ratio=Spread.of(first_s / second for second in again_s),
        pairs=sizes.runs,
    )
    yield Comparison(
        what=f"{more:,} clips more, {what}",
        unit="run",
        baseline=first,
        ours=Figure(name="third run", amount=more_s),
        kind="gain",
        ratio=Spread.of([first_s / more_s]),
        pairs=1,
        note=f"{more_s / Spread.of(again_s).median:.1f}× the time of the run that changes nothing.",
    )


def parameters(cores: int) -> Params:
    """Light encoders: what is measured is everything but them."""
    return Params(
        datasets=(NAME,),
        alignment=Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy")),
        features=Features(encoders={"voice": "signal", "text": "hashing"}, actors=cores),
        ray=RayResources(num_cpus=cores),
        sources={NAME: {"table": "corpus/clips.csv", "licence": "CC0-1.0", "consent": "made up"}},
    )


def write_corpus(root: Path, numbers: Iterable[int]) -> None:
    """Sounds that are not there yet, and the table of all of them."""
    folder = root / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    lines = ["audio,subject,emotion,transcript"]
    for number in numbers:
        path = folder / f"{number:06d}.wav"
        if not path.exists():
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * (100 + number / 50) * time_s), RATE_HZ, subtype="PCM_16")
        lines.append(f"{path.name},p{number % PEOPLE:02d},{EMOTIONS[number % len(EMOTIONS)]},so it is {number}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _stages(params: Params, layout: Layout, *, expect: int) -> None:
    call_stage("datasets", params, layout, NAME)
    aligned = call_stage("alignment", params, layout, NAME)["aligned_now"]
    encoded = call_stage("features", params, layout, NAME)["encoded"]["voice"]
    assert (aligned, encoded) == (expect, expect), (aligned, encoded)


BENCHMARK = Benchmark(
    question="What does a run cost when nothing changed, and when one clip in a hundred is new?",
    run=run,
    full=Sizes(clips=10_000, runs=3),
    quick=Sizes(clips=20, runs=1),
)
