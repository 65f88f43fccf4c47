"""From a stream to class scores, per step and per clip.

Legend: B clips, T steps, W channels, K classes. Masks are True = valid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from components.model.fusion import CLOSED
from components.model.temporal import zero_invalid


class StepHead(nn.Module):
    """Class scores of every step."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, classes)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(B, T, W) → (B, T, K)."""
        return self.out(x_BTW)


class ClipHead(nn.Module):
    """Class scores of a whole clip from its valid steps: attention pooling beside the maximum.

    The learned pool (Ilse et al. 2018, arXiv 1802.04712, without the gate) finds the steps that tell, the maximum
    keeps what was there only briefly. A clip without a valid step pools to zeros, so its scores are the bias alone.
    """

    def __init__(self, width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        # No bias: a softmax does not see it, so its gradient would be rounding noise that Adam blows up to full steps.
        self.score = nn.Linear(width, 1, bias=False)
        self.hidden = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, W), (B, T) → (B, K)."""
        x_BTW = zero_invalid(x_BTW, mask_BT)
        score_BT = self.score(x_BTW).squeeze(-1).masked_fill(~mask_BT, CLOSED)
        weight_BT = score_BT.softmax(-1) * mask_BT
        told_BW = (weight_BT.unsqueeze(-1) * x_BTW).sum(1)
        highest_BW = x_BTW.masked_fill(~mask_BT.unsqueeze(-1), CLOSED).amax(1)
        highest_BW = torch.where(mask_BT.any(-1, keepdim=True), highest_BW, highest_BW.new_zeros(()))
        hidden_BW = nn.functional.gelu(self.hidden(torch.cat([told_BW, highest_BW], dim=-1)))
        return self.out(self.dropout(hidden_BW))
