"""Whether the memory of `mer predict --out` grows with the number of clips: ten thousand of them, in one call.

The command is a process of its own with all that it starts; its memory is sampled over the run, as proportional set
sizes, so that a page which several processes share counts once. The clips are one short sound under many names, so that
they go the whole way (decoding, speech, encoder, model, answer, tables) in as little time as any.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from bench.benchmark import Benchmark
from bench.report import Comparison, Figure, Outcome, Spread
from components.runtime.progress import progress
from components.serving.batch.answered import JOURNAL
from pipelines.memory import tree_bytes

RATE_HZ = 16_000
SECONDS = 0.3
EVERY_S = 2.0
GOAL = 1.05
WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many clips; `after`: how many are done where the memory counts as that of few."""

    clips: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Clips that were done, and the memory of all processes and of the command's own, in bytes."""

    done: int
    every: int
    own: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """The median memory over the last tenth of the time over that of the tenth after the first clips."""
    write_clips(folder / "clips", sizes.clips)
    begun = time.monotonic()
    samples = list(watched(folder, sizes.clips))
    lasted_s = time.monotonic() - begun
    # Without the last moments, in which the tables are written and children have ended.
    judging = [one for one in samples if sizes.after <= one.done < sizes.clips] or samples
    tenth = max(len(judging) // 10, 1)
    few, many = judging[:tenth], judging[-tenth:]
    figures = [float(np.median([one.every for one in some])) for some in (few, many)]
    own = [float(np.median([one.own for one in some])) / (1 << 20) for some in (few, many)]
    yield Comparison(
        what=f"memory of `mer predict --out` over {sizes.clips:,} clips, all processes",
        unit="run",
        baseline=Figure(name=f"after {sizes.after:,} clips", amount=figures[0], detail=f"its own {own[0]:.0f} MiB"),
        ours=Figure(name="at the end", amount=figures[1], detail=f"its own {own[1]:.0f} MiB"),
        kind="cost",
        quantity="memory",
        ratio=Spread.of([figures[1] / figures[0]]),
        pairs=1,
        goal=GOAL,
        note=f"Largest sample {max(one.every for one in samples) / (1 << 20):,.0f} MiB of {len(samples)}, every "
        f"{EVERY_S:g} s; {sizes.clips / lasted_s:.1f} clips a second with {WORKERS} workers.",
    )


def watched(folder: Path, clips: int) -> Iterator[Sample]:
    """Runs the command; samples while it judges. Raises CalledProcessError where it fails."""
    out = folder / "answers"
    command = [sys.executable, "-c", "from pipelines.start import main; main()", "predict", str(folder / "clips")]
    command += ["--out", str(out), "--version", "starter", "--workers", str(WORKERS)]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with (folder / "log").open("wb") as log, progress("clips", clips) as advance:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, cwd=folder)
        done = 0
        while process.poll() is None:
            time.sleep(EVERY_S)
            before, done = done, _done(out / JOURNAL)
            advance(done - before)
            if done:
                yield Sample(done=done, every=tree_bytes(process.pid), own=_own(process.pid))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=(folder / "log").read_bytes()[-2000:])


def write_clips(folder: Path, clips: int) -> None:
    """One sound under many names."""
    folder.mkdir()
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    wave = 0.3 * np.sin(2 * np.pi * 180 * time_s) * (1 + 0.5 * np.sin(2 * np.pi * 5 * time_s))
    first = folder / f"{0:06d}.wav"
    soundfile.write(first, wave.astype(np.float32), RATE_HZ, subtype="PCM_16")
    for number in range(1, clips):
        os.link(first, folder / f"{number:06d}.wav")


def _done(journal: Path) -> int:
    return sum(1 for line in journal.read_bytes().splitlines() if line) if journal.is_file() else 0


def _own(pid: int) -> int:
    """The resident memory of one process alone; 0 once it ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


BENCHMARK = Benchmark(
    question="Does the memory of mer predict --out grow with the number of clips?",
    run=run,
    full=Sizes(clips=10_000, after=1_000),
    quick=Sizes(clips=60, after=10),
)
