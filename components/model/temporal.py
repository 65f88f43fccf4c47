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
        """(B, T, W) → (B, T, W); values at invalid steps of the result are meaningless."""
        y_BTW = zero_invalid(self.norm(x_BTW), mask_BT)
        return x_BTW + self._convolved(functional.pad(y_BTW.transpose(1, 2), (self.before, self.after)))

    def start(self, clips: int) -> Tensor:
        """The (B, before, W) past steps that `advance` convolves with, before the first step."""
        return self.out.weight.new_zeros(clips, self.before, self.out.in_features)

    def advance(self, x_BTW: Tensor, mask_BT: Tensor, past_BRW: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` of a causal block for the next steps, and the past for those after them."""
        y_BTW = torch.cat([past_BRW, zero_invalid(self.norm(x_BTW), mask_BT)], dim=1)
        return x_BTW + self._convolved(y_BTW.transpose(1, 2)), y_BTW[:, x_BTW.shape[1] :]

    def _convolved(self, y_BWT: Tensor) -> Tensor:
        return self.dropout(self.out(functional.gelu(self.conv(y_BWT)).transpose(1, 2)))


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
        """(before, after): the number of steps around a step on which its result depends."""
        blocks = self._residual()
        return sum(block.before for block in blocks), sum(block.after for block in blocks)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, D) → (B, T, W), zeros at invalid steps; NaN at invalid steps of the input is harmless."""
        x_BTW = self.dropout(self.project(zero_invalid(x_BTD, mask_BT)))
        for block in self.blocks:
            x_BTW = block(x_BTW, mask_BT)
        return zero_invalid(self.norm(x_BTW), mask_BT)

    def start(self, clips: int) -> tuple[Tensor, ...]:
        """The past that `advance` needs, one tensor per block, before the first step."""
        return tuple(block.start(clips) for block in self._residual())

    def advance(self, x_BTD: Tensor, mask_BT: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`forward` of a causal encoder for the next steps, and the past for those after them."""
        x_BTW = self.dropout(self.project(zero_invalid(x_BTD, mask_BT)))
        next_past = []
        for block, past_BRW in zip(self._residual(), past, strict=True):
            x_BTW, past_BRW = block.advance(x_BTW, mask_BT, past_BRW)  # noqa: PLW2901
            next_past.append(past_BRW)
        return zero_invalid(self.norm(x_BTW), mask_BT), tuple(next_past)

    def _residual(self) -> list[ResidualBlock]:
        return [block for block in self.blocks if isinstance(block, ResidualBlock)]
