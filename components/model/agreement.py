"""Concordance of continuous ratings, from sums that add up over workers, batches and people.

Legend: N items, S = 6 sums. The concordance correlation coefficient of truth x and prediction y (Lin 1989, "A
concordance correlation coefficient to evaluate reproducibility", eq. 2) is

    2 cov(x, y) / (var x + var y + (mean x - mean y)²)

with moments that divide by N. It is 1 for equal numbers only: unlike correlation it drops with a wrong scale or offset.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.model.temporal import zero_invalid

SUMS = 6
# Both sides constant and equal is 0 / 0; any informative pair of ratings has a far larger spread.
LEAST_SPREAD = 1e-9


def moment_sums(truth_N: Tensor, predicted_N: Tensor) -> Tensor:
    """(N,), (N,) → (S,) float64: count, Σx, Σy, Σx², Σy², Σxy of the items whose truth is not NaN."""
    rated_N = ~truth_N.isnan()
    x_N, y_N = truth_N[rated_N].double(), predicted_N[rated_N].double()
    return torch.stack(
        [rated_N.sum().double(), x_N.sum(), y_N.sum(), (x_N * x_N).sum(), (y_N * y_N).sum(), (x_N * y_N).sum()]
    )


def concordance(sums: Tensor) -> Tensor:
    """(…, S) → (…,) in [-1, 1]; 0 where a side does not vary, and of fewer than two items."""
    count, x, y, xx, yy, xy = sums.unbind(-1)
    count = count.clamp(min=1)
    mean_x, mean_y = x / count, y / count
    spread = xx / count - mean_x**2 + yy / count - mean_y**2 + (mean_x - mean_y) ** 2
    return 2 * (xy / count - mean_x * mean_y) / spread.clamp(min=LEAST_SPREAD)


class AffectLoss:
    """1 - concordance of valence and of arousal, from sums over workers.

    Chosen over squared error because such corpora are scored by it, and because squared error is least where every
    answer is near the mean. It is not a mean over clips, but it is a function of sums over clips alone: with the sums
    of the global batch, the gradient is that of the global batch.

    A rating is of a whole clip. It is compared with the output of the clip's head, and with the mean over valid steps
    of the steps' head, which leaves each step free to differ from its clip. A clip that was cut keeps the rating of
    the whole.
    """

    size = 2 * 2 * SUMS

    def sums(self, clips_B2: Tensor, steps_BT2: Tensor, truth_B2: Tensor, mask_BT: Tensor) -> Tensor:
        """One worker's sums, flat and float64; a clip without a rating (NaN) or without a valid step has none.

        Args:
            clips_B2, steps_BT2: predicted valence and arousal.
            truth_B2: rated valence and arousal.
            mask_BT: True where any modality is valid.
        """
        truth_B2 = truth_B2.masked_fill(~mask_BT.any(-1, keepdim=True), torch.nan)
        mean_B2 = zero_invalid(steps_BT2.float(), mask_BT).sum(1) / mask_BT.sum(-1, keepdim=True).clamp(min=1)
        return torch.cat(
            [
                moment_sums(truth_B2[:, column], predicted_B2[:, column])
                for predicted_B2 in (clips_B2, mean_B2)
                for column in range(2)
            ]
        )

    def value(self, sums: Tensor) -> Tensor:
        """The loss of the global batch, a scalar in [0, 2]; 0 where fewer than two clips are rated."""
        sums_NS = sums.view(-1, SUMS)
        rated_N = sums_NS[:, 0] >= 2
        return ((1 - concordance(sums_NS)) * rated_N).sum() / rated_N.sum().clamp(min=1)
