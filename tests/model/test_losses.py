from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from components.contracts.config import Train
from components.contracts.labels import UNLABELLED
from components.model.base import ABSENT_LOGIT, ModelOutput
from components.model.losses import ClassBalance, LossPart, cross_entropy_sum
from components.model.model import TemporalModel
from components.model.objective import ADDITIVE, JOINT, Objective
from components.training.samples.items import collate
from tests.model.toys import Toy, toy_spec

EVEN = ClassBalance(shift=(0.0,) * 4, weight=(1.0,) * 4)
ALL = torch.ones(4, dtype=torch.bool)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_torchs_cross_entropy_when_nothing_is_special(smoothing: float) -> None:
    logits = torch.randn(7, 4)
    labels = torch.tensor([0, 1, 2, 3, UNLABELLED, 1, 0])
    part = cross_entropy_sum(logits, labels, balance=EVEN, present_K=ALL, smoothing=smoothing)
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    assert torch.allclose(part.total / part.weight, expected)
    assert part.weight == 6


def test_inverse_frequency_weights_classes_equally() -> None:
    balance = ClassBalance.of([60, 30, 10, 0], "inverse_frequency")
    shares = [count * weight for count, weight in zip([60, 30, 10], balance.weight, strict=False)]
    assert shares == pytest.approx([100 / 3] * 3)
    assert balance.shift == (0.0,) * 4


def test_logit_adjustment_is_tau_log_prior() -> None:
    balance = ClassBalance.of([60, 30, 10, 0], "logit_adjustment", 0.5)
    assert balance.shift == pytest.approx([0.5 * math.log(p) for p in (0.6, 0.3, 0.1)] + [0.0])
    logits, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 2, 0])
    part = cross_entropy_sum(logits, labels, balance=balance, present_K=ALL, smoothing=0.0)
    expected = functional.cross_entropy(logits + torch.tensor(balance.shift), labels, reduction="sum")
    assert torch.allclose(part.total, expected)


def test_smoothing_leaves_absent_classes_out() -> None:
    present = torch.tensor([True, True, True, False])
    logits = torch.randn(3, 4)
    logits[:, 3] = ABSENT_LOGIT
    labels = torch.tensor([0, 1, 2])
    part = cross_entropy_sum(logits, labels, balance=EVEN, present_K=present, smoothing=0.1)
    expected = functional.cross_entropy(logits[:, :3], labels, label_smoothing=0.1, reduction="sum")
    assert torch.allclose(part.total, expected, atol=1e-5)


def objective(**fields: object) -> Objective:
    return Objective.of(Train(**fields), step_counts=[1] * 8, clip_counts=[1] * 8)


def parts(
    of: Objective, output: ModelOutput, masks: dict, step_labels: object, clip_labels: object
) -> dict[str, LossPart]:
    return of.parts(of.inputs(output, masks, step_labels, clip_labels))


def output_of(items: list) -> tuple[ModelOutput, object]:
    torch.manual_seed(0)
    batch = collate(items)
    return TemporalModel(toy_spec()).eval()(batch.features, batch.masks), batch


def test_sums_add_up_over_workers() -> None:
    items = Toy(clips=10).items()
    whole, halves = [], []
    for part, into in ((items, whole), (items[:3], halves), (items[3:], halves)):
        output, batch = output_of(part)
        into.append(parts(objective(), output, batch.masks, batch.step_labels, batch.clip_labels))
    for name, (total, weight) in whole[0].items():
        assert torch.allclose(total, sum(half[name].total for half in halves), rtol=1e-4)
        assert torch.allclose(weight, sum(half[name].weight for half in halves), rtol=1e-5)


def test_what_has_no_label_or_no_valid_step_counts_for_nothing() -> None:
    items = Toy(clips=3, missing=0.0).items()
    output, batch = output_of(items)
    labels, clips = batch.step_labels.clone(), batch.clip_labels.clone()
    labels[0], clips[1] = UNLABELLED, UNLABELLED
    masks = {name: mask.clone() for name, mask in batch.masks.items()}
    for mask in masks.values():
        mask[2] = False
    masks["face"][1] = False
    weights = {name: float(part.weight) for name, part in parts(objective(), output, masks, labels, clips).items()}
    assert weights == pytest.approx({"step": 1, "clip": 1, "unimodal_step": 2, "unimodal_clip": 3})


def test_a_long_clip_counts_as_one_clip() -> None:
    items = Toy(clips=2, steps=(8, 30), missing=0.0).items()
    output, batch = output_of(items)
    even = objective(class_weighting="none")
    part = parts(even, output, batch.masks, batch.step_labels, batch.clip_labels)["step"]
    means = [
        functional.cross_entropy(
            output.step_logits[row, : item.steps], torch.from_numpy(item.step_labels), label_smoothing=0.05
        )
        for row, item in enumerate(items)
    ]
    assert torch.allclose(part.total, sum(means), rtol=1e-5)


def test_parts_of_no_share_are_left_out() -> None:
    assert list(objective(step_loss=0.0, unimodal_loss=0.0).scale) == ["clip"]
    assert objective(unimodal_loss=0.5, clip_loss=2.0).scale["unimodal_clip"] == 1.0


def test_every_part_is_switched_off_by_a_setting_that_presets_see() -> None:
    # With every `_loss` of `train` at 0 nothing is left: a part with another switch would enter the paper's preset.
    off = Train.model_construct(**dict.fromkeys(Train.loss_weights(), 0.0))
    assert {name: part.weight(off) for name, part in {**ADDITIVE, **JOINT}.items() if part.weight(off)} == {}
