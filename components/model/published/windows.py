"""Windows over a clip's grid: where they lie, and which steps of a stream are in them.

A window does not depend on anything outside it, so that a clip cut into windows and windows computed on the whole clip
give the same. Legend: B clips, T steps of a clip, N windows, L steps of a window, D width. Masks are True = valid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.contracts.config import Model


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of `length` steps, one every `stride`; gaps of up to `fill` steps inside them are filled."""

    length: int
    stride: int
    fill: int

    @classmethod
    def of(cls, model: Model, rate_hz: float) -> Windows:
        """In steps of a grid: to the nearest, at least 1; the gap is rounded down, so that none is longer."""
        return cls(
            length=max(1, round(model.window_s * rate_hz)),
            stride=max(1, round(model.stride_s * rate_hz)),
            fill=int(model.fill_s * rate_hz + 1e-9),
        )

    def spans(self, first: int, end: int) -> list[tuple[int, int]]:
        """The windows `[start, end)` of a clip whose first and last valid step are `first` and `end - 1`.

        Every window is complete; a clip shorter than one is one window. Remaining steps at the end are in none.
        """
        if end - first <= self.length:
            return [(first, end)] if end > first else []
        return [(start, start + self.length) for start in range(first, end - self.length + 1, self.stride)]


def extents(valid_BT: Tensor) -> list[tuple[int, int]]:
    """`[first, end)` of the valid steps of each clip; `(0, 0)` where there is none."""
    steps = valid_BT.shape[1]
    any_B = valid_BT.any(-1)
    first_B = valid_BT.int().argmax(-1) * any_B
    end_B = (steps - valid_BT.flip(-1).int().argmax(-1)) * any_B
    return list(zip(first_B.tolist(), end_B.tolist(), strict=True))


def fill_gaps(x_NLD: Tensor, mask_NL: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Repeats the last valid step in gaps of up to `longest` steps; a gap lies between two valid steps."""
    steps = mask_NL.shape[1]
    place_L = torch.arange(steps, device=mask_NL.device)
    before_NL = torch.where(mask_NL, place_L, -1).cummax(-1).values
    after_NL = torch.where(mask_NL, place_L, steps).flip(-1).cummin(-1).values.flip(-1)
    inside_NL = (before_NL >= 0) & (after_NL < steps)
    filled_NL = mask_NL | (inside_NL & (after_NL - before_NL - 1 <= longest))
    source_NL = torch.where(filled_NL, before_NL, place_L)
    return take_steps(x_NLD, source_NL), filled_NL


def left_aligned(x_NLD: Tensor, mask_NL: Tensor) -> tuple[Tensor, Tensor]:
    """The valid steps of each window one after the other from the left; zeros behind them.

    A window without one keeps one step of zeros, which counts as valid: a mean over no step would be NaN.
    """
    order_NL = (~mask_NL).int().argsort(dim=-1, stable=True)
    count_N1 = mask_NL.sum(-1, keepdim=True)
    place_L = torch.arange(mask_NL.shape[1], device=mask_NL.device)
    zeroed_NLD = torch.where(mask_NL.unsqueeze(-1), x_NLD, x_NLD.new_zeros(()))
    return take_steps(zeroed_NLD, order_NL), place_L < count_N1.clamp(min=1)


def take_steps(x_NLD: Tensor, index_NL: Tensor) -> Tensor:
    """x[n, index[n, l]] for every n, l."""
    return x_NLD.gather(1, index_NL.unsqueeze(-1).expand(*index_NL.shape, x_NLD.shape[-1]))
