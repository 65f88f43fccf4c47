"""Concordance of continuous ratings, from sums that add up over workers, batches and people.

Legend: N items, S = 6 sums. The concordance correlation coefficient of truth x and prediction y (Lin 1989, "A
concordance correlation coefficient to evaluate reproducibility", eq. 2) is

    2 cov(x, y) / (var x + var y + (mean x - mean y)²)

with moments that divide by N. It is 1 for equal numbers only: unlike correlation it sees a wrong scale or offset.
"""

from __future__ import annotations

import torch
from torch import Tensor

SUMS = 6
# Both sides constant and equal is 0 / 0; anything that says something has a far larger spread.
LEAST_SPREAD = 1e-9


def moment_sums(truth_N: Tensor, predicted_N: Tensor) -> Tensor:
    """(N,), (N,) → (S,) float64: count, Σx, Σy, Σx², Σy², Σxy of the items whose truth is not NaN."""
    known_N = ~truth_N.isnan()
    x_N, y_N = truth_N[known_N].double(), predicted_N[known_N].double()
    return torch.stack(
        [known_N.sum().double(), x_N.sum(), y_N.sum(), (x_N * x_N).sum(), (y_N * y_N).sum(), (x_N * y_N).sum()]
    )


def concordance(sums: Tensor) -> Tensor:
    """(…, S) → (…,) in [-1, 1]; 0 where a side does not vary, and of fewer than two items."""
    count, x, y, xx, yy, xy = sums.unbind(-1)
    count = count.clamp(min=1)
    mean_x, mean_y = x / count, y / count
    spread = xx / count - mean_x**2 + yy / count - mean_y**2 + (mean_x - mean_y) ** 2
    return 2 * (xy / count - mean_x * mean_y) / spread.clamp(min=LEAST_SPREAD)
