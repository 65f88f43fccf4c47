"""Work in proportion to what is there: a modality that few clips of a batch have is computed for those alone.

In a union of corpora, words alone beside voices beside photographs, most of a batch is padding: of 13,697 utterances of
text, 2,337 recordings of voices and 2,025 photographs, a batch has faces in one clip of nine, each of a single step.

Legend: B clips, T steps, W channels. Masks are True = valid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def few_rows(chosen_B: Tensor) -> Tensor | None:
    """The indices of the chosen clips where they are at most half of a batch, otherwise None: gathering them would cost
    what it saves. None in a compiled model, too, whose shapes must not depend on values."""
    if torch.compiler.is_compiling():
        return None
    count = int(chosen_B.sum())
    return None if 2 * count > len(chosen_B) else chosen_B.nonzero().squeeze(-1)


def over_present(layer: Callable[[Tensor, Tensor], Tensor], x_BTD: Tensor, mask_BT: Tensor, *, width: int) -> Tensor:
    """`layer(x, mask)`, (B, T, width), zeros at invalid steps, or (B, width), zeros for clips without a valid step.

    Args:
        layer: of (B, T, D) and (B, T); the result for one clip must not depend on the others, nor on steps after its
            last valid one, and must be zero where nothing is valid.
        width: of the result.
    """
    rows = few_rows(mask_BT.any(-1))
    if rows is None:
        return layer(x_BTD, mask_BT)
    mask_RT = mask_BT[rows]
    steps = int(mask_RT.any(0).nonzero()[-1]) + 1 if len(rows) else 1
    few = layer(x_BTD[rows, :steps], mask_RT[:, :steps])
    if few.ndim == 2:  # one row per clip
        return few.new_zeros(len(mask_BT), width).index_copy(0, rows, few)
    whole = torch.nn.functional.pad(few, (0, 0, 0, mask_BT.shape[1] - steps))
    return few.new_zeros(*mask_BT.shape, width).index_copy(0, rows, whole)
