from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from components.model.losses import UNLABELLED
from components.model.model import TemporalModel
from components.training.heldout import held_out_scores, macro_f1
from tests.model.toys import Toy, toy_spec

CPU = torch.device("cpu")


def test_macro_f1_is_sklearns_over_the_classes_of_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, 60), rng.integers(0, 6, 60)
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro")
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_unlabelled_and_empty_clips_do_not_count_and_the_mode_is_kept() -> None:
    torch.manual_seed(0)
    model = TemporalModel(toy_spec(dropout=0.5)).train()
    items = Toy(clips=6, missing=0.0).items()
    nothing = {name: np.zeros_like(mask) for name, mask in items[5].masks.items()}
    odd = [*items[:5], replace(items[5], masks=nothing)]
    weights = dict(model.named_parameters())
    scores = held_out_scores(model, weights, odd, device=CPU)
    assert scores == held_out_scores(model, weights, items[:5], device=CPU)
    assert model.training
    unlabelled = [replace(item, clip_label=UNLABELLED) for item in items]
    assert set(held_out_scores(model, weights, unlabelled, device=CPU)) == {"held_out_step_macro_f1"}
    assert held_out_scores(model, weights, [], device=CPU) == {}


def test_the_given_weights_are_scored() -> None:
    model = TemporalModel(toy_spec())
    items = Toy(clips=8).items()
    zeros = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    assert held_out_scores(model, zeros, items, device=CPU)["held_out_clip_accuracy"] == pytest.approx(1 / 8)
