"""The training step on a GPU: bf16 and compiled against fp32 and eager; steps per second and share of the peak.

The share is of what the device's data sheet promises for the arithmetic of that side: dense bf16 tensor cores for the
one, fp32 without tensor cores for the other (torch multiplies fp32 matrices in full precision by default). Operations
are counted once by `torch.utils.flop_counter` over a forward and backward pass, so they are those of matrix products,
convolutions and attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.benchmark import Benchmark
from bench.made import cases, spec, widths_of
from bench.pairs import alternate
from bench.report import Comparison, Figure, Outcome, Skipped
from components.contracts.config import Train
from components.training.learner import Learner, Share
from components.training.loop import TrainingTask, new_learner
from components.training.samples.items import Batch, collate


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Floating-point operations a second by the data sheet, in units of 10¹²: dense bf16, and fp32."""

    bf16: float
    fp32: float


# NVIDIA's data sheets; the first name that the device's name holds. Tensor-core figures are without sparsity.
PEAKS: Mapping[str, Peak] = {
    "H200 NVL": Peak(bf16=836, fp32=60),
    "H200": Peak(bf16=989, fp32=67),
    "H100 PCIe": Peak(bf16=756, fp32=51),
    "H100 NVL": Peak(bf16=836, fp32=60),
    "H100": Peak(bf16=989, fp32=67),
    "A100": Peak(bf16=312, fp32=19.5),
    "A10G": Peak(bf16=70, fp32=31.5),
    "A10": Peak(bf16=125, fp32=31.2),
    "L40S": Peak(bf16=362, fp32=91.6),
    "L4": Peak(bf16=121, fp32=30.3),
}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A model's width and heads, and a batch of clips of `steps` steps."""

    width: int
    heads: int
    clips: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is timed: `steps` optimiser steps a measurement."""

    shapes: tuple[ModelShape, ...]
    steps: int
    pairs: int
    warmup: int


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row per shape; one word on a machine without CUDA."""
    what = "training step on a GPU: bf16 + compile against fp32 eager"
    if not torch.cuda.is_available():
        yield Skipped(what=what, reason="this machine has no CUDA device")
        return
    for shape in sizes.shapes:
        yield _row(what, shape, sizes, torch.device("cuda"))


def _row(what: str, shape: ModelShape, sizes: Sizes, device: torch.device) -> Comparison:
    eager, batch = prepared(shape, device, precision="fp32", compile=False)
    compiled, _ = prepared(shape, device, precision="bf16", compile=True)
    operations = count_operations(eager, batch)
    measured = alternate(
        _steps(eager, batch, sizes.steps),
        _steps(compiled, batch, sizes.steps),
        pairs=sizes.pairs,
        warmup=sizes.warmup,
        what=f"GPU step, width {shape.width}",
    )
    name = torch.cuda.get_device_name(device)
    peak = peak_of(name)
    memory = {learner: _peak_mib(learner, batch) for learner in (eager, compiled)}
    eager_s, compiled_s = (seconds / sizes.steps for seconds in measured.medians_s)
    return Comparison(
        what=f"{what}, width {shape.width}, {shape.clips} clips × {shape.steps} steps, four modalities, {name}",
        unit="step",
        baseline=Figure(
            name="fp32 eager", amount=eager_s, detail=_detail(operations, eager_s, peak, "fp32", memory[eager])
        ),
        ours=Figure(
            name="bf16 + compile",
            amount=compiled_s,
            detail=_detail(operations, compiled_s, peak, "bf16", memory[compiled]),
        ),
        kind="gain",
        ratio=measured.gain,
        pairs=measured.count,
        note=f"{operations / 1e9:.1f} GFLOP a step, counted; a measurement is {sizes.steps} steps.",
    )


def prepared(shape: ModelShape, device: torch.device, **train: object) -> tuple[Learner, Batch]:
    """A learner, and a batch on its device."""
    widths = widths_of()
    clips = cases(shape.clips, steps=shape.steps, widths=widths)
    config = Train.model_validate({"batch_clips": shape.clips, "max_steps_per_clip": shape.steps, **train})
    task = TrainingTask(spec=spec(widths, width=shape.width, heads=shape.heads), train=config, seed=0)
    return new_learner(task, clips, device=device), collate(clips).to(device)


def count_operations(learner: Learner, batch: Batch) -> int:
    """Floating-point operations of a forward and backward pass; the gradients are thrown away."""
    counter = FlopCounterMode(display=False)
    with counter:
        output = learner.model(batch.features, batch.masks)
        inputs = learner.objective.inputs(output, batch.masks, batch.step_labels, batch.clip_labels)
        parts = learner.objective.parts(inputs)
        torch.stack([part.total for part in parts.values()]).sum().backward()  # type: ignore[no-untyped-call]
    learner.gradient.zero_()
    return int(counter.get_total_flops())


def peak_of(name: str) -> Peak | None:
    """The data sheet's figures for a device, None where it is not known here."""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def _steps(learner: Learner, batch: Batch, count: int) -> Callable[[], None]:
    """The next `count` steps, done when it returns."""
    clips = batch.clip_labels.numel()

    def steps() -> None:
        for _ in range(count):
            number = learner.samples // clips
            learner.step(batch, step=number % learner.steps, samples=learner.samples + clips, share=Share())
        torch.cuda.synchronize()

    return steps


def _peak_mib(learner: Learner, batch: Batch) -> float:
    """What a step holds at most, with what is there before and after it."""
    torch.cuda.reset_peak_memory_stats()
    _steps(learner, batch, 1)()
    return torch.cuda.max_memory_allocated() / (1 << 20)


def _detail(operations: int, seconds: float, peak: Peak | None, kind: Literal["bf16", "fp32"], mib: float) -> str:
    rate = operations / seconds / 1e12
    share = f"{rate:.1f} TFLOP/s, peak not known"
    if peak is not None:
        bound: float = getattr(peak, kind)
        share = f"{rate / bound:.1%} of {bound:g} TFLOP/s {kind}"
    return f"{1 / seconds:.1f} steps/s, {share}, {mib:,.0f} MiB with both learners"


BENCHMARK = Benchmark(
    question="on a GPU: the training step in bf16 and compiled against fp32 eager; steps per second, share of peak",
    run=run,
    full=Sizes(
        shapes=(
            ModelShape(width=96, heads=4, clips=64, steps=256),
            ModelShape(width=512, heads=8, clips=64, steps=256),
        ),
        steps=10,
        pairs=20,
        warmup=3,
    ),
    quick=Sizes(shapes=(ModelShape(width=96, heads=4, clips=16, steps=64),), steps=2, pairs=2, warmup=1),
)
