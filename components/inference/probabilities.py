"""From scores to probabilities and back, in float64, and the product of several experts. Legend: K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from components.model.fusion import log_product

Floats = NDArray[np.float64]

# Posteriors come from fp32; the logarithm of a probability of exactly 0 would be infinite.
FLOOR = 1e-12


def softmax(logits: NDArray[np.floating], temperature: float = 1.0, shift: Sequence[float] = ()) -> Floats:
    """softmax(logits / temperature + shift) over the last axis; `shift` is (K,), or empty for none."""
    scaled = logits.astype(np.float64) / temperature
    if len(shift):
        scaled += np.asarray(shift, dtype=np.float64)
    scaled -= scaled.max(-1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """log softmax(logits) over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def log_of_product(log_p: Mapping[str, Floats]) -> Floats:
    """{m: (…, K)} log-probabilities, NaN where an expert is absent → (…, K): `fusion.log_product` of at least one."""
    experts = {name: torch.from_numpy(values) for name, values in log_p.items()}
    return np.asarray(log_product(experts, {name: ~values.isnan().any(-1) for name, values in experts.items()}).numpy())


def product_of_experts(posteriors: Mapping[str, NDArray[np.floating]]) -> Floats:
    """{m: (…, K)} posteriors, NaN for absent experts → (…, K): their normalised product; uniform without any."""
    logs = {name: np.log(np.maximum(values.astype(np.float64), FLOOR)) for name, values in posteriors.items()}
    return softmax(log_of_product(logs))


def shifted(posterior: Floats, shift: Sequence[float] = ()) -> Floats:
    """(…, K) posteriors after a shift (K,) of their logarithms, empty for none; each adds up to 1."""
    if not len(shift):
        return posterior
    return softmax(np.log(np.maximum(posterior, FLOOR)), shift=shift)
