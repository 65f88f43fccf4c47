"""From one stream per modality to one stream: which modalities are valid at a step, and how much each counts.

Legend: B clips, T steps, W channels, M modalities. Masks are True = valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from components.model.temporal import zero_invalid

# Large enough that its softmax weight is exactly 0 in fp32 and bf16, finite so that gradients are.
CLOSED = -1e4


class GatedFusion(nn.Module):
    """A convex combination of the valid modalities of each step, weighted by a learned gate.

    With `conflict`, the mean of |v_i - v_j| over the valid pairs of a step is added through a linear map: such features
    are reported to help where modalities contradict each other. A step with one modality has no pair and nothing is
    added; a step with none is zero.
    """

    def __init__(self, names: Sequence[str], width: int, *, dropout: float, conflict: bool) -> None:
        super().__init__()
        self.names = tuple(names)
        self.gate = nn.ModuleDict({name: nn.Linear(width, 1) for name in self.names})
        self.value = nn.ModuleDict({name: nn.Linear(width, width) for name in self.names})
        self.conflict = nn.Linear(width, width, bias=False) if conflict and len(self.names) > 1 else None
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """{m: (B, T, W)}, {m: (B, T)} → (B, T, W), zeros where no modality is valid."""
        mask_BTM = torch.stack([masks[name] for name in self.names], dim=-1)
        gate_BTM = torch.cat([self.gate[name](streams[name]) for name in self.names], dim=-1)
        weight_BTM = gate_BTM.masked_fill(~mask_BTM, CLOSED).softmax(-1) * mask_BTM
        values = {name: self.value[name](streams[name]) for name in self.names}
        fused_BTW = torch.stack([values[name] for name in self.names], dim=-1).mul(weight_BTM.unsqueeze(2)).sum(-1)
        if self.conflict is not None:
            fused_BTW = fused_BTW + self.conflict(self._disagreement(values, masks))
        return zero_invalid(self.dropout(self.norm(fused_BTW)), mask_BTM.any(-1))

    def _disagreement(self, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        total_BTW = torch.zeros_like(values[self.names[0]])
        count_BT = torch.zeros_like(masks[self.names[0]], dtype=total_BTW.dtype)
        for first, second in combinations(self.names, 2):
            both_BT = masks[first] & masks[second]
            total_BTW = total_BTW + zero_invalid((values[first] - values[second]).abs(), both_BT)
            count_BT = count_BT + both_BT
        return total_BTW / count_BT.clamp(min=1).unsqueeze(-1)


class Concatenation(nn.Module):
    """The modalities side by side with their presence, through one linear map: fusion without attention or gates."""

    def __init__(self, names: Sequence[str], width: int, *, dropout: float) -> None:
        super().__init__()
        self.names = tuple(names)
        self.mix = nn.Linear(len(self.names) * (width + 1), width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """{m: (B, T, W)}, {m: (B, T)} → (B, T, W), zeros where no modality is valid."""
        mask_BTM = torch.stack([masks[name] for name in self.names], dim=-1)
        parts = [zero_invalid(streams[name], masks[name]) for name in self.names]
        mixed_BTW = self.mix(torch.cat([*parts, mask_BTM.to(parts[0].dtype)], dim=-1))
        return zero_invalid(self.dropout(self.norm(mixed_BTW)), mask_BTM.any(-1))


class MeanFusion(nn.Module):
    """The mean of the valid modalities of each step: fusion without parameters."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)

    def forward(self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """{m: (…, W)}, {m: (…,)} → (…, W), zeros where no modality is valid."""
        total = sum_of([zero_invalid(streams[name], masks[name]) for name in self.names])
        return total / valid_count(masks, self.names).clamp(min=1).unsqueeze(-1)


def log_product(
    log_p: Mapping[str, Tensor], present: Mapping[str, Tensor], exponents: Mapping[str, Tensor] | None = None
) -> Tensor:
    """{m: (…, K)} log-probabilities, {m: (…,)} → (…, K): the logarithm of the experts' product, up to a constant.

    log p(k) = Σ_m β_m log p_m(k) + constant, over the present modalities (Hinton 2002, eq. 1, with exponents
    β, 1 by default: naive Bayes for scores that estimate class-balanced posteriors). Zeros where none is present.
    """
    masked = {name: zero_invalid(values, present[name]) for name, values in log_p.items()}
    if exponents is not None:
        masked = {name: exponents[name] * values for name, values in masked.items()}
    return sum_of(list(masked.values()))


class ProductOfExperts(nn.Module):
    """Class scores as the product of the present modalities' posteriors, each raised to one learned exponent.

    See `log_product`. The experts' scores are taken as they are: no gradient reaches them, so each modality learns from
    its own loss and a strong one cannot keep a weak one from learning.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.log_beta_M = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """{m: (…, K)} before `EmotionModel.close`, {m: (…,)} → (…, K)."""
        beta_M = self.log_beta_M.exp()
        log_p = {name: scores[name].detach().float().log_softmax(-1) for name in self.names}
        return log_product(log_p, present, {name: beta_M[index] for index, name in enumerate(self.names)})


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape added up in their order."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def valid_count(masks: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """{m: (…,)} → (…,) how many modalities are valid."""
    return torch.stack([masks[name] for name in names]).sum(0)
