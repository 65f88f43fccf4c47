from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.made import cases, spec
from bench.report import Comparison
from bench.training_step import BENCHMARK, GOAL, BatchShape, PlainLoop, Sizes, run
from components.contracts.config import Train
from components.training.samples.items import collate

WIDTHS = {"face": 6, "voice": 4}


def test_a_row_a_shape(tmp_path: Path) -> None:
    shapes = tuple(BatchShape(name=name, clips=2, steps=5, widths=WIDTHS) for name in ("one", "two"))
    rows = list(run(Sizes(shapes=shapes, pairs=5, warmup=1), tmp_path))
    assert [row.what.split(":")[0] for row in rows] == ["training step, one", "training step, two"]
    for row in rows:
        assert isinstance(row, Comparison)
        assert (row.pairs, row.goal, row.kind) == (5, GOAL, "cost")
        assert min(row.baseline.amount, row.ours.amount, row.ratio.low) > 0


QUIET = {"dropout": 0.0, "statistics_dropout": 0.0, "statistics_noise": 0.0, "statistics_mixup": 0.0}


def test_the_plain_loop_trains_every_weight() -> None:
    clips = cases(4, steps=6, widths=WIDTHS)
    plain = PlainLoop(spec(WIDTHS, width=8, heads=2, **QUIET), Train(learning_rate=1e-2), [collate(clips)])
    before = {name: value.detach().clone() for name, value in plain.model.named_parameters()}
    losses = [plain.step() for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]
    learned = {name: value for name, value in plain.model.named_parameters() if value.requires_grad}
    still = [name for name, value in learned.items() if torch.equal(before[name], value)]
    assert not still


def test_its_loss_is_the_sum_of_the_parts() -> None:
    clips = cases(4, steps=6, widths=WIDTHS)
    batch = collate(clips)
    config = Train(label_smoothing=0.0, unimodal_loss=0.5)
    plain = PlainLoop(spec(WIDTHS, width=8, heads=2, **QUIET), config, [batch])
    output = plain.model(batch.features, batch.masks)
    expected = torch.zeros(())
    rows = torch.arange(4)
    for share, clip_BK in (
        (0.5, output.clip_ways["statistics"]),
        (0.5, output.clip_ways["temporal"]),
        (0.25, output.unimodal_clip_logits["face"]),
        (0.25, output.unimodal_clip_logits["voice"]),
    ):
        expected = expected - share * clip_BK.log_softmax(-1)[rows, batch.clip_labels].mean()
    for share, step_BTK in (
        (1.0, output.step_logits),
        (0.25, output.unimodal_step_logits["face"]),
        (0.25, output.unimodal_step_logits["voice"]),
    ):
        steps_BT = step_BTK.log_softmax(-1).gather(-1, batch.step_labels.unsqueeze(-1))
        expected = expected - share * steps_BT.mean()
    assert plain.step() == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_full_sizes_are_the_default_training() -> None:
    short, long = BENCHMARK.full.shapes
    assert (short.clips, long.steps) == (Train().batch_clips, Train().max_steps_per_clip)
