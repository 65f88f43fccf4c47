from __future__ import annotations

import shutil

import pytest
import torch

from components.contracts.errors import ConfigError
from components.training.compiled import compiled


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU())


def test_without_a_compiler_it_says_so() -> None:
    from torch._inductor import config

    torch._dynamo.reset()
    without = config.patch({"force_disable_caches": True, "cpp.cxx": ("/nonexistent/c++",)})
    with without, pytest.raises(ConfigError, match=r"train\.compile: the model cannot be compiled.*compile: false"):
        compiled(net())(torch.ones(2, 3))


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU; none is here")
def test_it_computes_the_same_with_the_same_gradients() -> None:
    torch._dynamo.reset()
    plain, other = net(), net()
    fast = compiled(other)
    for rows in (2, 5):
        x = torch.randn(rows, 3)
        assert torch.allclose(plain(x), fast(x), atol=1e-6)
    plain(x).square().sum().backward()
    fast(x).square().sum().backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-5)
