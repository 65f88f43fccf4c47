from __future__ import annotations

import torch

from components.model.heads import AffectHead, ClipHead, EmbeddingHead


def head() -> ClipHead:
    torch.manual_seed(0)
    return ClipHead(6, 4, dropout=0.0).eval()


def test_only_valid_steps_are_pooled() -> None:
    net = head()
    x = torch.randn(2, 9, 6)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[:, 5:] = False
    other = torch.where(mask[..., None], x, 50.0)
    assert torch.allclose(net(other, mask), net(x[:, :5], mask[:, :5]), atol=1e-6)


def test_negative_streams_keep_their_maximum() -> None:
    net = head()
    low = -torch.rand(1, 4, 6) - 5
    mask = torch.tensor([[True, True, False, False]])
    assert torch.allclose(net(low, mask), net(low[:, :2], mask[:, :2]), atol=1e-6)


def test_an_empty_clip_gives_finite_scores_and_gradients() -> None:
    net = head()
    x = torch.randn(1, 3, 6, requires_grad=True)
    scores = net(x, torch.zeros(1, 3, dtype=torch.bool))
    scores.sum().backward()
    assert scores.isfinite().all()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_affect_stays_inside_its_bounds_and_an_embedding_on_its_sphere() -> None:
    torch.manual_seed(0)
    affect, embedding = AffectHead(6, dropout=0.0), EmbeddingHead(6, 5)
    wild = 1e3 * torch.randn(3, 4, 6)
    for values in (affect.of_steps(wild), affect.of_clip(wild[:, 0])):
        assert values.shape[-1] == 2
        assert (values.abs() <= 1).all()
    assert torch.allclose(embedding(wild[:, 0]).norm(dim=-1), torch.ones(3))
