"""The training step against the same model in a plain PyTorch loop.

The plain loop is what one would write in a page: padded batches that lie ready in memory, forward, four mean
cross-entropies, backward, `clip_grad_norm_`, fused AdamW. Ours is the product's own loop (`training/loop.py`): it
picks, changes and pads the clips of each batch, balances classes, sums exactly over workers, watches for gradients
that are not finite, follows the learning-rate schedule and keeps the averaged weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from bench.benchmark import Benchmark
from bench.made import cases, spec, widths_of
from bench.pairs import alternate
from bench.report import Comparison, Figure, Outcome
from components.catalog.cases import Case
from components.contracts.config import Train
from components.model.base import ModelOutput
from components.model.build import build_model
from components.model.spec import ModelSpec
from components.training.loop import TrainingTask, new_learner, train_steps
from components.training.samples.items import Batch, collate

GOAL = 1.10
BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class BatchShape:
    """What a batch is made of: clips of `steps` steps, with modality → width."""

    name: str
    clips: int
    steps: int
    widths: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is timed, and how often."""

    shapes: tuple[BatchShape, ...]
    pairs: int
    warmup: int


class PlainLoop:
    """The loop without us."""

    def __init__(self, model_spec: ModelSpec, config: Train, batches: Sequence[Batch]) -> None:
        torch.manual_seed(0)
        self.config = config
        self.model = build_model(model_spec).train()
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._batches = cycle(batches)

    def step(self) -> float:
        """One optimiser step; its loss."""
        batch = next(self._batches)
        loss = self._loss(self.model(batch.features, batch.masks), batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimiser.step()
        return loss.item()

    def _loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        steps = [output.step_logits, *output.unimodal_step_logits.values()]
        alone = list(output.unimodal_clip_logits.values())
        share, smoothing = self.config.unimodal_loss / len(alone), self.config.label_smoothing
        loss = output.clip_logits.new_zeros(())
        for weight, step_BTK in zip([1.0, *[share] * len(alone)], steps, strict=True):
            loss = loss + weight * functional.cross_entropy(
                step_BTK.flatten(0, 1), batch.step_labels.flatten(), label_smoothing=smoothing
            )
        for clip_BK in alone:
            loss = loss + share * functional.cross_entropy(clip_BK, batch.clip_labels, label_smoothing=smoothing)
        for name, clip_BK in output.clip_ways.items():
            if name in output.mixed_targets:
                scores_RK, clip_R, weight_R = output.mixed_targets[name]
                every_R = functional.cross_entropy(
                    scores_RK, batch.clip_labels[clip_R], label_smoothing=smoothing, reduction="none"
                )
                own = (weight_R * every_R).sum() / weight_R.sum()
            else:
                own = functional.cross_entropy(clip_BK, batch.clip_labels, label_smoothing=smoothing)
            loss = loss + own / len(output.clip_ways)
        return loss


def run(sizes: Sizes, folder: Path) -> Iterator[Outcome]:
    """One row per shape."""
    for shape in sizes.shapes:
        clips = cases(BATCHES * shape.clips, steps=shape.steps, widths=shape.widths)
        yield _row(shape, clips, sizes)


def _row(shape: BatchShape, clips: Sequence[Case], sizes: Sizes) -> Comparison:
    # Enough epochs for all steps, so that the schedule does not run out.
    epochs = 1 + (sizes.warmup + sizes.pairs) // BATCHES
    task = TrainingTask(
        spec=spec(shape.widths),
        train=Train(batch_clips=shape.clips, max_steps_per_clip=shape.steps, epochs=epochs),
        seed=0,
    )
    ours = train_steps(new_learner(task, clips), task, clips)
    batches = [collate(clips[first : first + shape.clips]) for first in range(0, len(clips), shape.clips)]
    plain = PlainLoop(task.spec, task.train, batches)
    measured = alternate(
        plain.step,
        lambda: next(ours),
        pairs=sizes.pairs,
        warmup=sizes.warmup,
        what=f"training step, {shape.name}",
    )
    plain_s, ours_s = measured.medians_s
    widths = ", ".join(f"{name} {width}" for name, width in shape.widths.items())
    return Comparison(
        what=f"training step, {shape.name}: {shape.clips} clips × {shape.steps} steps, {widths}",
        unit="step",
        baseline=Figure(name="plain PyTorch loop", amount=plain_s),
        ours=Figure(name="train_steps", amount=ours_s),
        kind="cost",
        ratio=measured.cost,
        pairs=measured.count,
        goal=GOAL,
    )


RAVDESS = BatchShape(name="like RAVDESS", clips=32, steps=40, widths=widths_of(("face", "voice")))
LONG = BatchShape(name="long", clips=32, steps=256, widths=widths_of())

BENCHMARK = Benchmark(
    question="the training step against the same model in a plain PyTorch loop on tensors in memory",
    run=run,
    full=Sizes(shapes=(RAVDESS, LONG), pairs=60, warmup=5),
    quick=Sizes(shapes=(RAVDESS, LONG), pairs=4, warmup=1),
)
