"""Dilated residual temporal convolution over a masked stream.

Legend: B clips, T steps, W channels. Masks are True = valid. Sources: Bai, Kolter & Koltun 2018 (arXiv 1803.01271) for
dilated residual convolution; masks as in partial streams: an invalid step is zeroed before *each* convolution, so no
value of an invalid step (padding included) ever reaches a valid one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def zero_invalid(x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
    """Zeros at invalid steps; also stops NaN and infinity there, which a product with 0 would not."""
    return torch.where(mask_BT.unsqueeze(-1), x_BTW, x_BTW.new_zeros(()))


class ResidualBlock(nn.Module):
    """x + Dropout(Linear(GELU(Conv(LayerNorm(x))))), one dilated convolution over time."""

    def __init__(self, width: int, *, kernel: int, dilation: int, causal: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        reach = (kernel - 1) * dilation
        self.before = reach if causal else reach // 2
        self.after = reach - self.before

    def forward(self, x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, W) → (B, T, W); values at invalid steps of the result mean nothing."""
        y_BTW = zero_invalid(self.norm(x_BTW), mask_BT)
        y_BWT = functional.pad(y_BTW.transpose(1, 2), (self.before, self.after))
        y_BTW = functional.gelu(self.conv(y_BWT)).transpose(1, 2)
        return x_BTW + self.dropout(self.out(y_BTW))


class TemporalEncoder(nn.Module):
    """Projection of a modality's features, then `blocks` residual blocks of dilation 1, 2, 4, …

    The result at step t depends on valid steps in `[t - before, t + after]` only; `after` is 0 when causal. Cost is
    O(T) and memory O(T · W).
    """

    def __init__(self, inputs: int, width: int, *, blocks: int, kernel: int, causal: bool, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            ResidualBlock(width, kernel=kernel, dilation=2**index, causal=causal, dropout=dropout)
            for index in range(blocks)
        )
        self.norm = nn.LayerNorm(width)

    @property
    def reach(self) -> tuple[int, int]:
        """(before, after): how many steps around a step its result depends on."""
        blocks = [block for block in self.blocks if isinstance(block, ResidualBlock)]
        return sum(block.before for block in blocks), sum(block.after for block in blocks)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, D) → (B, T, W), zeros at invalid steps; NaN at invalid steps of the input is harmless."""
        x_BTW = self.dropout(self.project(zero_invalid(x_BTD, mask_BT)))
        for block in self.blocks:
            x_BTW = block(x_BTW, mask_BT)
        return zero_invalid(self.norm(x_BTW), mask_BT)
