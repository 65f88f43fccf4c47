from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from components.inference.probabilities import log_of_product, log_softmax, product_of_experts, softmax
from components.model.fusion import ProductOfExperts


def test_softmax_and_its_logarithm_are_scipys() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits, 2.0), special.softmax(logits.astype(np.float64) / 2, axis=-1))
    np.testing.assert_allclose(log_softmax(logits), special.log_softmax(logits.astype(np.float64), axis=-1))


def test_experts_that_agree_are_surer_together() -> None:
    one = np.array([0.6, 0.3, 0.1])
    both = product_of_experts({"face": one, "voice": one})
    np.testing.assert_allclose(both, one**2 / (one**2).sum(), rtol=1e-6)


def test_an_absent_expert_says_nothing_and_none_at_all_is_even() -> None:
    opinions = {name: np.random.default_rng(1).dirichlet(np.ones(3), size=4) for name in ("face", "voice")}
    opinions["voice"][1] = np.nan
    for posterior in opinions.values():
        posterior[3] = np.nan
    together = product_of_experts(opinions)
    np.testing.assert_allclose(together[1], opinions["face"][1])
    np.testing.assert_allclose(together[3], 1 / 3)
    assert product_of_experts({"face": np.array([1.0, 0.0])})[0] == pytest.approx(1)


def test_a_fusion_that_has_learned_nothing_yet_is_the_same_product() -> None:
    rng = np.random.default_rng(2)
    scores = {name: rng.normal(size=(6, 5)).astype(np.float32) for name in ("face", "text", "voice")}
    tensors = {name: torch.from_numpy(values) for name, values in scores.items()}
    present = {name: torch.ones(6, dtype=torch.bool) for name in scores}
    fused = ProductOfExperts(tuple(scores))(tensors, present).detach().numpy()
    expected = log_of_product({name: log_softmax(values) for name, values in scores.items()})
    np.testing.assert_allclose(fused, expected, rtol=1e-5)
