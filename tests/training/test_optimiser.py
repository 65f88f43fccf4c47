from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from components.training.optimiser import AdamW


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 2))


def groups(model: nn.Module) -> list[dict[str, object]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]


def test_it_moves_the_weights_to_the_bit_as_torchs_own_class_does() -> None:
    models = network(), network()
    optimisers = AdamW(groups(models[0]), learning_rate=1e-2), torch.optim.AdamW(groups(models[1]), lr=1e-2, fused=True)
    for step in range(8):
        inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        for model, optimiser in zip(models, optimisers, strict=True):
            model.zero_grad()
            model(inputs).square().sum().backward()
            for group in optimiser.param_groups:
                group["lr"] = 1e-2 / (1 + step)
            optimiser.step()
        for mine, theirs in zip(*(model.parameters() for model in models), strict=True):
            assert torch.equal(mine, theirs)
            for name, value in optimisers[1].state[theirs].items():
                assert torch.equal(optimisers[0].state[mine][name], value), name


def test_it_does_without_torchs_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # an import of it fails
    model = network()
    optimiser = AdamW(groups(model), learning_rate=1e-2)
    model(torch.ones(1, 5)).sum().backward()
    before = [parameter.clone() for parameter in model.parameters()]
    optimiser.step()
    assert all(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
