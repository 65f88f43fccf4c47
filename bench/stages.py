"""The stages alignment and features against a hand-written loop of the same work, and against decode alone.

All sides read the same rendered clips with as many processes as there are cores, each with one thread, and start those
processes within their time. The loop is what one would write without this project's stages: a process pool, in each
process an aligner and the encoders, a clip at a time, features to an `.npz` a clip. It keeps no shards, resumes
nothing, and a clip that crashes its decoder ends it. The floor decodes pictures and sound with PyAV and drops them.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq

from bench.benchmark import Benchmark
from bench.pairs import PairedTimes, alternate, timed
from bench.report import Comparison, Outcome, duration
from components.alignment.align import Aligner
from components.contracts.config import Alignment, Features, Params, RayResources
from components.contracts.layout import Layout
from components.contracts.records import Clip, clips_of
from components.features.base import Encoder
from components.features.registry import create
from components.runtime.cluster import connect
from pipelines.stages import call_stage

GOAL = 1.15
NAME = "synthetic"
CLIPS_A_PERSON = 8


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Corpora by their people, who have eight clips each, and how often each side runs over each of them."""

    people: tuple[int, ...]
    pairs: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """The stages against the loop, for every corpus; against decode alone, for the first."""
    cores = len(os.sched_getaffinity(0))
    for number, people in enumerate(sizes.people):
        yield from _corpus(parameters(cores, people=people), cores, sizes.pairs, folder / str(people), floor=not number)


def _corpus(params: Params, cores: int, pairs: int, folder: Path, *, floor: bool) -> Iterator[Outcome]:
    made = Layout(folder / "made")
    call_stage("datasets", params, made, NAME)
    clips = clips_of(pq.read_table(made.dataset(NAME) / "clips.parquet"))
    seconds: dict[str, list[float]] = {"alignment": [], "features": []}
    ours, loop = _stages(params, made, seconds), _loop(params, made.root, clips, cores)
    what = f"{len(clips)} rendered clips, {cores} processes"
    with one_ray(params.ray):
        yield _against_loop(alternate(loop, ours, pairs=pairs, warmup=0, what="stages against a loop"), what, seconds)
        if floor:
            alone = _floor(made.root, clips, cores)
            yield _against_floor(
                alternate(alone, ours, pairs=pairs, warmup=0, what="stages against decode alone"), what
            )


def _against_loop(pairs: PairedTimes, what: str, seconds: Mapping[str, Sequence[float]]) -> Comparison:
    parts = {name: float(np.median(took)) for name, took in seconds.items()}
    return pairs.compared(
        "process pool, same aligner and encoders",
        "stages",
        what=f"alignment and features, {what}",
        unit="run",
        goal=GOAL,
        note=f"Of ours, alignment took {duration(parts['alignment'])} and features {duration(parts['features'])}.",
    )


def _against_floor(pairs: PairedTimes, what: str) -> Comparison:
    return pairs.compared("PyAV decodes and drops", "stages", what=f"the same against decode alone, {what}", unit="run")


def parameters(cores: int, *, people: int) -> Params:
    """The default configuration on these cores, for a rendered corpus."""
    section = {"subjects": people, "clips_per_subject": CLIPS_A_PERSON, "processes": cores}
    return Params(
        features=Features(actors=cores),
        ray=RayResources(num_cpus=cores),
        sources={NAME: section},
    )


def _stages(params: Params, made: Layout, seconds: dict[str, list[float]]) -> Callable[[], None]:
    """Both stages in a fresh project; how long each took goes to `seconds`."""
    numbers = count()

    def once() -> None:
        layout = Layout(made.root.with_name(f"run-{next(numbers)}"))
        layout.dataset(NAME).parent.mkdir(parents=True)
        layout.dataset(NAME).symlink_to(made.dataset(NAME))
        seconds["alignment"].append(timed(lambda: call_stage("alignment", params, layout, NAME)))
        seconds["features"].append(timed(lambda: call_stage("features", params, layout, NAME)))
        shutil.rmtree(layout.root)

    return once


def _loop(params: Params, root: Path, clips: Sequence[Clip], cores: int) -> Callable[[], None]:
    """The hand-written loop."""

    def once() -> None:
        out = root.with_name("loop")
        out.mkdir()
        context = multiprocessing.get_context("spawn")
        arguments = (params.alignment, dict(params.features.encoders), root, out)
        with context.Pool(cores, initializer=_begin, initargs=arguments) as pool:
            written = sum(pool.imap_unordered(_align_and_encode, clips))
        assert written == len(clips)
        shutil.rmtree(out)

    return once


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """What a process of the loop holds."""

    aligner: Aligner
    encoders: Mapping[str, Encoder]
    root: Path
    out: Path


_worker: _Worker | None = None


def _begin(config: Alignment, specs: Mapping[str, str], root: Path, out: Path) -> None:
    global _worker  # noqa: PLW0603  # a pool's initializer has no other place to leave something
    import torch

    torch.set_num_threads(1)
    encoders = {name: create(spec, name, "cpu") for name, spec in specs.items()}
    _worker = _Worker(aligner=Aligner(config), encoders=encoders, root=root, out=out)


def _align_and_encode(clip: Clip) -> int:
    assert _worker is not None
    aligned = _worker.aligner.align_ungated(clip, root=_worker.root)
    arrays: dict[str, Any] = {name: encoder.encode([aligned])[0].values for name, encoder in _worker.encoders.items()}
    with (_worker.out / f"{clip.clip_id.replace('/', '_')}.npz").open("wb") as file:
        np.savez(file, **arrays)
    return 1


def _floor(root: Path, clips: Sequence[Clip], cores: int) -> Callable[[], None]:
    """Decode alone."""
    paths = [str(root / path) for clip in clips for path in (clip.video_path, clip.audio_path) if path is not None]

    def once() -> None:
        with multiprocessing.get_context("spawn").Pool(cores) as pool:
            assert sum(pool.imap_unordered(_decode, paths)) > 0

    return once


def _decode(path: str) -> int:
    with av.open(path) as container:
        for stream in container.streams.video:
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
        streams = [*container.streams.video, *container.streams.audio]
        return sum(1 for _ in container.decode(streams))


@contextmanager
def one_ray(resources: RayResources) -> Iterator[None]:
    """A Ray for as long as the block runs, as a whole `mer run` has one; an earlier one is used and left alone."""
    import ray

    own = not ray.is_initialized()
    connect(resources)
    try:
        yield
    finally:
        if own:
            ray.shutdown()


BENCHMARK = Benchmark(
    question="What do the stages cost over a hand-written loop of the same decode and encode, and over decode alone?",
    run=run,
    full=Sizes(people=(24, 96), pairs=3),
    quick=Sizes(people=(2,), pairs=1),
)
