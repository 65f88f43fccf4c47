from __future__ import annotations

import pytest
import torch

from components.model.temporal import TemporalEncoder, zero_invalid


def encoder(*, causal: bool = False, blocks: int = 3) -> TemporalEncoder:
    torch.manual_seed(0)
    return TemporalEncoder(5, 8, blocks=blocks, kernel=3, causal=causal, dropout=0.0).eval()


def test_zero_invalid_stops_nan_in_values_and_gradients() -> None:
    x = torch.tensor([[[1.0], [float("nan")], [float("inf")]]], requires_grad=True)
    y = zero_invalid(x, torch.tensor([[True, False, False]]))
    y.sum().backward()
    assert y.flatten().tolist() == [1.0, 0.0, 0.0]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing(causal: bool) -> None:
    net = encoder(causal=causal)
    x = torch.randn(2, 17, 5)
    mask = torch.rand(2, 17) > 0.2
    padded_x = torch.cat([x, torch.full((2, 9, 5), 7.0)], dim=1)
    padded_mask = torch.cat([mask, torch.zeros(2, 9, dtype=torch.bool)], dim=1)
    assert torch.allclose(net(padded_x, padded_mask)[:, :17], net(x, mask), atol=1e-6)


def test_values_of_invalid_steps_reach_nobody() -> None:
    net = encoder()
    x = torch.randn(1, 20, 5)
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[0, 7:9] = False
    other = x.clone()
    other[0, 7:9] = float("nan")
    assert torch.equal(net(x, mask), net(other, mask))


@pytest.mark.parametrize("causal", [False, True])
def test_a_step_depends_on_exactly_its_reach(causal: bool) -> None:
    net = encoder(causal=causal)
    before, after = net.reach
    assert (before, after) == ((14, 0) if causal else (7, 7))
    x = torch.randn(1, 41, 5, requires_grad=True)
    net(x, torch.ones(1, 41, dtype=torch.bool))[0, 20].square().sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(-1).nonzero().flatten()
    assert (int(touched.min()), int(touched.max())) == (20 - before, 20 + after)


def test_without_blocks_steps_are_independent() -> None:
    net = encoder(blocks=0)
    assert net.reach == (0, 0)
    x = torch.randn(1, 6, 5)
    mask = torch.ones(1, 6, dtype=torch.bool)
    assert torch.allclose(net(x, mask)[:, 2], net(x[:, 2:3], mask[:, :1])[:, 0], atol=1e-6)
