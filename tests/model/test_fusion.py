from __future__ import annotations

import pytest
import torch

from components.model.fusion import Concatenation, GatedFusion, MeanFusion, ProductOfExperts

NAMES = ("face", "text", "voice")


def inputs() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    streams = {name: torch.randn(2, 5, 8, generator=generator) for name in NAMES}
    masks = {name: torch.ones(2, 5, dtype=torch.bool) for name in NAMES}
    masks["text"][0] = False
    for mask in masks.values():
        mask[1, 3:] = False
    return streams, masks


@pytest.mark.parametrize("kind", ["gated", "concatenation"])
def test_invalid_modalities_do_not_count_and_empty_steps_are_zero(kind: str) -> None:
    torch.manual_seed(0)
    fusion = (
        GatedFusion(NAMES, 8, dropout=0.0, conflict=True) if kind == "gated" else Concatenation(NAMES, 8, dropout=0.0)
    )
    streams, masks = inputs()
    fused = fusion(streams, masks)
    other = dict(streams, text=torch.where(masks["text"][..., None], streams["text"], 9.0))
    assert torch.equal(fusion(other, masks), fused)
    assert torch.equal(fused[1, 3:], torch.zeros(2, 8))
    assert (fused[0].abs().sum(-1) > 0).all()


def test_a_single_valid_modality_gets_all_the_weight() -> None:
    torch.manual_seed(0)
    fusion = GatedFusion(NAMES, 8, dropout=0.0, conflict=True)
    streams, masks = inputs()
    for name in ("text", "voice"):
        masks[name][:] = False
    expected = fusion.norm(fusion.value["face"](streams["face"]))
    assert torch.allclose(fusion(streams, masks)[0], expected[0], atol=1e-6)


def test_conflict_is_the_mean_distance_of_valid_pairs() -> None:
    fusion = GatedFusion(NAMES, 2, dropout=0.0, conflict=True)
    ones = torch.ones(1, 1, 2)
    values = {"face": 0 * ones, "text": 10 * ones, "voice": 4 * ones}
    masks = {name: torch.tensor([[True]]) for name in NAMES}
    assert torch.allclose(fusion._disagreement(values, masks), 20 / 3 * ones)
    masks["text"] = torch.tensor([[False]])
    assert torch.allclose(fusion._disagreement(values, masks), 4 * ones)
    masks["voice"] = torch.tensor([[False]])
    assert torch.equal(fusion._disagreement(values, masks), 0 * ones)


def test_one_modality_has_no_conflict_layer() -> None:
    assert GatedFusion(("face",), 4, dropout=0.0, conflict=True).conflict is None


def test_the_mean_is_over_the_valid_modalities() -> None:
    fusion = MeanFusion(NAMES)
    streams, masks = inputs()
    fused = fusion(streams, masks)
    assert torch.allclose(fused[0], (streams["face"][0] + streams["voice"][0]) / 2)
    assert torch.equal(fused[1, 3:], torch.zeros(2, 8))
    summaries = {name: values[:, 0] for name, values in streams.items()}
    assert torch.equal(fusion(summaries, {name: mask[:, 0] for name, mask in masks.items()}), fused[:, 0])


def test_nobody_present_says_nothing() -> None:
    experts = ProductOfExperts(NAMES)
    scores = {name: torch.full((2, 4), float("nan")) for name in NAMES}
    nobody = {name: torch.zeros(2, dtype=torch.bool) for name in NAMES}
    said = experts(scores, nobody)
    said.sum().backward()
    assert torch.equal(said, torch.zeros(2, 4))
    assert torch.equal(experts.log_beta_M.grad, torch.zeros(3))
