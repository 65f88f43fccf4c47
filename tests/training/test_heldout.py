from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from components.catalog.cases import Case
from components.contracts.labels import UNLABELLED
from components.model.agreement import concordance, moment_sums
from components.model.build import EmotionModel, build_model
from components.training.heldout import held_out_scores
from components.training.learner import Share
from components.training.samples.items import collate
from tests.model.toys import Toy, rated, toy_spec


def scores_of(model: EmotionModel, items: list[Case], *, share: Share | None = None, **weights: torch.Tensor):
    def predict(*batch: object) -> object:
        return torch.func.functional_call(model, weights, batch)

    return held_out_scores(model, predict, items, classes=8, device=torch.device("cpu"), share=share or Share())


def test_macro_f1_is_scikit_learns_and_so_the_reports() -> None:
    torch.manual_seed(0)
    model = build_model(toy_spec()).eval()
    items = [replace(item, clip_label=index % 2) for index, item in enumerate(Toy(clips=24, missing=0.0).items())]
    batch = collate(items)
    predicted = model(batch.features, batch.masks).clip_logits.argmax(-1)
    assert set(predicted.tolist()) - {0, 1}, "an answer that is never true is what the definitions differ in"
    expected = f1_score(batch.clip_labels, predicted, average="macro")
    assert scores_of(model, items)["held_out_clip_macro_f1"] == pytest.approx(expected)


def test_unlabelled_and_empty_clips_do_not_count_and_the_mode_is_kept() -> None:
    torch.manual_seed(0)
    model = build_model(toy_spec(dropout=0.5)).train()
    items = Toy(clips=6, missing=0.0).items()
    nothing = {name: np.zeros_like(mask) for name, mask in items[5].masks.items()}
    odd = [*items[:5], replace(items[5], masks=nothing)]
    assert scores_of(model, odd) == scores_of(model, items[:5])
    assert model.training
    unlabelled = [replace(item, clip_label=UNLABELLED) for item in items]
    assert set(scores_of(model, unlabelled)) == {"held_out_step_macro_f1"}
    assert scores_of(model, []) == {}


def test_concordance_is_of_the_rated_clips_with_something_to_see() -> None:
    torch.manual_seed(0)
    model = build_model(replace(toy_spec(), valence_arousal=True)).eval()
    items = rated(Toy(clips=9, missing=0.0).items())
    items[1] = replace(items[1], masks={name: np.zeros_like(mask) for name, mask in items[1].masks.items()})
    scores = scores_of(model, items)
    batch = collate([item for index, item in enumerate(items) if index % 4 != 3 and index != 1])
    predicted = model(batch.features, batch.masks).valence_arousal
    for column, name in enumerate(("valence", "arousal")):
        expected = concordance(moment_sums(batch.valence_arousal[:, column], predicted[:, column].detach()))
        assert scores[f"held_out_{name}_ccc"] == pytest.approx(float(expected), abs=1e-5)
    shares: list[torch.Tensor] = []
    for rank in range(2):
        scores_of(model, items, share=Share(rank=rank, world=2, sum_over_workers=lambda c: shares.append(c.clone())))
    both = Share(rank=0, world=2, sum_over_workers=lambda c: c.copy_(shares[0] + shares[1]))
    assert scores_of(model, items, share=both) == pytest.approx(scores)


def test_the_given_weights_are_scored() -> None:
    model = build_model(toy_spec())
    zeros = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    assert scores_of(model, Toy(clips=8).items(), **zeros)["held_out_clip_accuracy"] == pytest.approx(1 / 8)


def test_workers_share_the_clips_and_all_get_the_scores_of_all() -> None:
    torch.manual_seed(0)
    model, items = build_model(toy_spec()), Toy(clips=9).items()
    counts: list[torch.Tensor] = []
    for rank in range(2):
        scores_of(model, items, share=Share(rank=rank, world=2, sum_over_workers=lambda c: counts.append(c.clone())))
    together = Share(rank=0, world=2, sum_over_workers=lambda c: c.copy_(counts[0] + counts[1]))
    assert scores_of(model, items, share=together) == scores_of(model, items)
