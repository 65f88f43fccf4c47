"""From a stream to class scores, per step and per clip.

Legend: B clips, T steps, W channels, K classes. Masks are True = valid.
"""

from __future__ import annotations

from typing import NamedTuple

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


class RunningSoftmax(NamedTuple):
    """The pool of a clip so far: the running softmax of Milakov & Gimelshein 2018 (arXiv 1805.02867) and the maximum.

    Attributes:
        peak: (B,) the highest attention score of a valid step; `CLOSED` before the first.
        total: (B,) sum of exp(score - peak) over valid steps, in float64 so that long streams do not drift.
        told: (B, W) sum of exp(score - peak) · x over valid steps, in float64.
        highest: (B, W) the maximum over valid steps; `CLOSED` before the first.
    """

    peak: Tensor
    total: Tensor
    told: Tensor
    highest: Tensor

    @property
    def any(self) -> Tensor:
        """(B,) whether there was a valid step."""
        return self.total > 0


class ClipHead(nn.Module):
    """A whole clip from its valid steps: attention pooling beside the maximum, then class scores.

    The learned pool (Ilse et al. 2018, arXiv 1802.04712, without the gate) weights the informative steps, the
    maximum keeps what occurred only briefly. A clip without a valid step pools to zeros, so its scores are the bias.

    The summary of a clip and the scores are two calls, because other heads use the same summary.
    """

    def __init__(self, width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        # No bias: a softmax does not depend on it, so its gradient would be noise that Adam scales to full steps.
        self.score = nn.Linear(width, 1, bias=False)
        self.hidden = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, W), (B, T) → class scores (B, K)."""
        return self.scores(self.summary(x_BTW, mask_BT))

    def scores(self, summary_BW: Tensor) -> Tensor:
        """(B, W) → (B, K)."""
        return self.out(self.dropout(summary_BW))

    def summary(self, x_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, T, W), (B, T) → (B, W)."""
        x_BTW, score_BT, highest_BW = self._pool_inputs(x_BTW, mask_BT)
        weight_BT = score_BT.softmax(-1) * mask_BT
        attended_BW = (weight_BT.unsqueeze(-1) * x_BTW).sum(1)
        return self._hidden(attended_BW, highest_BW, mask_BT.any(-1))

    def start(self, clips: int) -> RunningSoftmax:
        """The pool of a clip before its first step."""
        closed_BW = self.out.weight.new_full((clips, self.out.in_features), CLOSED)
        zeros_BW = torch.zeros_like(closed_BW, dtype=torch.float64)
        return RunningSoftmax(closed_BW[:, 0], zeros_BW[:, 0], zeros_BW, closed_BW)

    def advance(self, x_BTW: Tensor, mask_BT: Tensor, pool: RunningSoftmax) -> tuple[Tensor, RunningSoftmax]:
        """`summary` over all steps so far, of which these are the next ones, and the pool with them."""
        x_BTW, score_BT, highest_BW = self._pool_inputs(x_BTW, mask_BT)
        peak_B = torch.maximum(pool.peak, score_BT.amax(-1))
        fade_B = (pool.peak - peak_B).double().exp()
        weight_BT = (score_BT - peak_B.unsqueeze(-1)).double().exp() * mask_BT
        pool = RunningSoftmax(
            peak=peak_B,
            total=pool.total * fade_B + weight_BT.sum(-1),
            told=pool.told * fade_B.unsqueeze(-1) + (weight_BT.unsqueeze(-1) * x_BTW).sum(1),
            highest=torch.maximum(pool.highest, highest_BW),
        )
        # The step at the peak has weight 1: the total is 0 or at least 1.
        attended_BW = (pool.told / pool.total.clamp(min=1).unsqueeze(-1)).to(x_BTW.dtype)
        return self._hidden(attended_BW, pool.highest, pool.any), pool

    def _pool_inputs(self, x_BTW: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, W), (B, T) → steps (B, T, W), their attention scores (B, T) and their maximum (B, W)."""
        x_BTW = zero_invalid(x_BTW, mask_BT)
        score_BT = self.score(x_BTW).squeeze(-1).masked_fill(~mask_BT, CLOSED)
        return x_BTW, score_BT, x_BTW.masked_fill(~mask_BT.unsqueeze(-1), CLOSED).amax(1)

    def _hidden(self, attended_BW: Tensor, highest_BW: Tensor, any_B: Tensor) -> Tensor:
        highest_BW = torch.where(any_B.unsqueeze(-1), highest_BW, highest_BW.new_zeros(()))
        return nn.functional.gelu(self.hidden(torch.cat([attended_BW, highest_BW], dim=-1)))


class AffectHead(nn.Module):
    """Valence and arousal of every step and of the clip, each in (-1, 1).

    Separate maps: the value of a clip is not the mean of its steps, because its summary weights them by attention.
    """

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.step = nn.Linear(width, 2)
        self.clip = nn.Linear(width, 2)

    def of_steps(self, x_BTW: Tensor) -> Tensor:
        """(B, T, W) → (B, T, 2)."""
        return self.step(self.dropout(x_BTW)).tanh()

    def of_clip(self, summary_BW: Tensor) -> Tensor:
        """(B, W) → (B, 2)."""
        return self.clip(self.dropout(summary_BW)).tanh()


class EmbeddingHead(nn.Module):
    """A clip as a point on the unit sphere of a text encoder: one linear map, then length 1."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, embedding)

    def forward(self, summary_BW: Tensor) -> Tensor:
        """(B, W) → (B, E) in float32."""
        return nn.functional.normalize(self.project(summary_BW).float(), dim=-1)
