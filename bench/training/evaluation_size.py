"""Whether what `evaluate` holds in memory grows with the corpus: clips read from disk, each with step labels.

Each side is a process of its own that runs the stage's work on a catalog (`runtime.clips_mb: 0`), as with a corpus that
is larger than memory. The larger corpora have the features of the smallest one over and over. The model is a small one
with drawn weights: what is kept of a clip depends on its steps, modalities and classes, and not on the model.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from bench.training.made import write_catalog
from components.catalog.cases import fit_transform, prepare
from components.catalog.examples import read_catalog, widths_of
from components.catalog.packed import read_examples
from components.contracts.config import Evaluate, Gates, Model
from components.contracts.layout import Layout
from components.evaluation.evaluate import Splits, evaluate
from components.evaluation.pages.write import write_evaluation
from components.model.build import build_model
from components.model.spec import ModelSpec
from pipelines.memory import PeakMemory

GOAL = 1.25
STEPS = 50
MODALITIES = ("face", "voice")
EVERY_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The smallest corpus, of which eight in ten are for training, and how many times as many clips the others have."""

    clips: int
    times: tuple[int, ...]


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """A row per larger corpus: peak memory over that of the smallest."""
    one = _measured(folder / "1", sizes, 1)
    for times in sizes.times:
        other = _measured(folder / str(times), sizes, times)
        grown = (other["peak_bytes"] - one["peak_bytes"]) / ((times - 1) * sizes.clips)
        yield Comparison(
            what=f"evaluate from disk, {times} times the clips, of {STEPS} steps, {' and '.join(MODALITIES)}",
            unit="process",
            quantity="memory",
            baseline=Figure(name=f"{sizes.clips} clips", amount=one["peak_bytes"], detail=_detail(one)),
            ours=Figure(name=f"{times * sizes.clips:,} clips", amount=other["peak_bytes"], detail=_detail(other)),
            kind="cost",
            ratio=Spread.of([other["peak_bytes"] / one["peak_bytes"]]),
            pairs=1,
            goal=GOAL,
            note=f"{grown / 1000:.2f} kB more for each clip more.",
        )


def _detail(figures: dict[str, float]) -> str:
    return f"{figures['cpu_s']:.0f} s of processor time"


def _measured(folder: Path, sizes: Sizes, times: int) -> dict[str, float]:
    folder.mkdir()
    write_catalog(
        Layout(folder),
        clips=times * sizes.clips,
        distinct=sizes.clips,
        steps=STEPS,
        names=MODALITIES,
        splits=(*["train"] * 8, "calibration", "test"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench.training.evaluation_size", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def measure(folder: Path) -> dict[str, float]:
    """Evaluates in this process on the catalog of a folder: the peak of memory, and processor time."""
    layout = Layout(folder)
    _, catalog = read_catalog(layout)
    widths = widths_of(catalog)
    torch.manual_seed(0)
    spec = ModelSpec(modalities=widths, classes=tuple(catalog["classes"]), model=Model(width=16, heads=2, tcn_blocks=1))
    split = {name: read_examples(layout, name, memory_mb=0) for name in ("train", "calibration", "test")}
    transform = fit_transform(split["train"][:8], widths, standardise=True, normalise="pooled")
    config = Evaluate(bootstrap=100, timelines=1)
    started = time.process_time()
    with PeakMemory(EVERY_S) as memory:
        evaluation = evaluate(
            build_model(spec).eval(),
            Splits(**{name: prepare(examples, transform) for name, examples in split.items()}),
            config=config,
            gates=Gates(),
            seed=0,
        )
        write_evaluation(layout.evaluated, evaluation, title="made", datasets=["made"], config=config)
    return {"peak_bytes": memory.peak_bytes, "cpu_s": time.process_time() - started}


BENCHMARK = Benchmark(
    question="Does what evaluate holds in memory grow with the corpus?",
    run=run,
    full=Sizes(clips=500, times=(10,)),
    quick=Sizes(clips=40, times=(2,)),
)

if __name__ == "__main__":
    from bench.__main__ import pin_threads

    pin_threads(1)
    print(json.dumps(measure(Path(sys.argv[1]))))
