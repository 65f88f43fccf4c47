"""Pairwise cross-attention between modalities: masked, relative in time, safe on empty sides.

Legend: B clips, T steps, W channels, H heads, P ordered pairs (query, key), M modalities. Masks are True = valid.

Every query also attends to one *empty key* with score 0 and value 0. It makes the softmax defined when no key is valid
(the attended value is then exactly 0, so the query passes through unchanged, with finite gradients), and lets a query
attend to nothing. The same as `add_zero_attn` of `torch.nn.MultiheadAttention`.

Relative time is a bias of -slope_h · |t_query - t_key| seconds with one learned slope per head (ALiBi, Press et al.
2022, arXiv 2108.12409, symmetric and in seconds). Keys further than a window away are masked, which bounds both the
memory of long clips and the state of a stream.

All streams share one grid of steps, so there is nothing to align here: alignment places each stream by its own
timestamps and pools what a step covers. Keys at a stream's own, higher rate would cost time and state in proportion and
add little to a query made ten times per second; step distances in seconds are the same at any grid rate. A modality
that changes slowly is simply repeated or masked on the grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.model.sparse import few_rows
from components.model.temporal import zero_invalid

QUERY_BLOCK_STEPS = 256
FIRST_SLOPES_PER_S = (2.0, 0.05)


class KeyValues(NamedTuple):
    """Keys and values of one modality side by side (B, T, 2W), zeros at invalid steps, and its mask (B, T)."""

    key_value: Tensor
    mask: Tensor


class RelativeTime(nn.Module):
    """The bias of distance in time, with one learned slope per head."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        first, last = FIRST_SLOPES_PER_S
        slopes_H = torch.logspace(math.log10(first), math.log10(last), heads)
        self.raw_H = nn.Parameter(torch.log(torch.expm1(slopes_H)))

    def forward(self, distance_s: Tensor) -> Tensor:
        """(Tq, Tk) seconds → (H, Tq, Tk)."""
        return -functional.softplus(self.raw_H)[:, None, None] * distance_s.abs()


class CrossAttention(nn.Module):
    """Modalities query each other; the mean of the values attended to is added to each stream, and nothing else.

    Args:
        names: the M modalities.
        pairs: ordered (query, key) pairs of names; which direction exists is data, not code.
        window_steps: the largest distance between a query and a key.
        rate_hz: steps per second.
        causal: a query attends to no later key.

    Cost is O(P · T · window) time. Memory is O(M · T · W) for queries, keys and values, and one block of
    `QUERY_BLOCK_STEPS` queries of every pair at a time; with gradients the blocks are kept.
    """

    def __init__(
        self,
        names: Sequence[str],
        width: int,
        *,
        heads: int,
        pairs: Sequence[tuple[str, str]],
        window_steps: int,
        rate_hz: float,
        causal: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.pairs = tuple(pairs)
        self.width = width
        self.heads = heads
        self.window_steps = window_steps
        self.rate_hz = rate_hz
        self.causal = causal
        self.dropout = nn.Dropout(dropout)
        queries = [name for name in self.names if any(query == name for query, _ in self.pairs)]
        keys = [name for name in self.names if any(key == name for _, key in self.pairs)]
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in self.names})
        self.query = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in queries})
        self.key_value = nn.ModuleDict({name: nn.Linear(width, 2 * width, bias=False) for name in keys})
        # No bias: an attended value of 0 must add nothing.
        self.out = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in queries})
        self.relative_time = RelativeTime(heads)

    def forward(self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{m: (B, T, W)}, {m: (B, T)} → {m: (B, T, W)}, zeros at invalid steps.

        A clip with one modality has nothing to attend to and passes through unchanged; where most clips of a batch are
        such, attention is computed for the others alone.
        """
        rows = few_rows(torch.stack([mask.any(-1) for mask in masks.values()]).sum(0) > 1)
        if rows is None:
            return self._whole(streams, masks)
        if not len(rows):
            return dict(streams)
        few = self._whole(
            {name: stream[rows] for name, stream in streams.items()}, {name: mask[rows] for name, mask in masks.items()}
        )
        return {name: stream.index_copy(0, rows, few[name].to(stream.dtype)) for name, stream in streams.items()}

    def _whole(self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        normed = {name: self.norm[name](streams[name]) for name in self.names}
        return self._exchange(streams, masks, normed, self._key_values(normed, masks))

    def start(self, clips: int) -> dict[str, KeyValues]:
        """The cache of the last `window_steps` steps of each key modality, before the first step."""
        zeros_BTW = self.relative_time.raw_H.new_zeros(clips, self.window_steps, 2 * self.width)
        invalid_BT = torch.zeros(clips, self.window_steps, dtype=torch.bool, device=zeros_BTW.device)
        return {name: KeyValues(zeros_BTW, invalid_BT) for name in self.key_value}

    def advance(
        self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor], cache: Mapping[str, KeyValues]
    ) -> tuple[dict[str, Tensor], dict[str, KeyValues]]:
        """`forward` of a causal layer for the next steps, and the cache for those after them."""
        normed = {name: self.norm[name](streams[name]) for name in self.names}
        key_values = {
            name: KeyValues(
                torch.cat([cache[name].key_value, new.key_value], dim=1), torch.cat([cache[name].mask, new.mask], dim=1)
            )
            for name, new in self._key_values(normed, masks).items()
        }
        next_cache = {
            name: KeyValues(extended.key_value[:, -self.window_steps :], extended.mask[:, -self.window_steps :])
            for name, extended in key_values.items()
        }
        return self._exchange(streams, masks, normed, key_values), next_cache

    def _key_values(self, normed: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, KeyValues]:
        return {
            name: KeyValues(zero_invalid(layer(normed[name]), masks[name]), masks[name])
            for name, layer in self.key_value.items()
        }

    def _exchange(
        self,
        streams: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        normed: Mapping[str, Tensor],
        key_values: Mapping[str, KeyValues],
    ) -> dict[str, Tensor]:
        """The queries of `normed` to keys that end with the same step and may begin further back."""
        queries = {name: self._split(layer(normed[name])) for name, layer in self.query.items()}
        keys, values = {}, {}
        for name in key_values:
            key_BTW, value_BTW = key_values[name].key_value.chunk(2, dim=-1)
            keys[name], values[name] = self._split(key_BTW), self._split(value_BTW)
        key_steps = next(iter(key_values.values())).mask.shape[-1]
        steps = next(iter(queries.values())).shape[-2]
        back = key_steps - steps
        blocks = [
            self._block(
                {name: query[..., first : first + QUERY_BLOCK_STEPS, :] for name, query in queries.items()},
                keys,
                values,
                masks={name: key_value.mask for name, key_value in key_values.items()},
                first=back + first,
            )
            for first in range(0, steps, QUERY_BLOCK_STEPS)
        ]
        result = dict(streams)
        for name, layer in self.out.items():
            mean_BTW = torch.cat([block[name] for block in blocks], dim=1)
            result[name] = streams[name] + zero_invalid(self.dropout(layer(mean_BTW)), masks[name])
        return result

    def _split(self, x_BTW: Tensor) -> Tensor:
        return x_BTW.reshape(*x_BTW.shape[:2], self.heads, -1).transpose(1, 2)

    def _block(
        self,
        queries: Mapping[str, Tensor],
        keys: Mapping[str, Tensor],
        values: Mapping[str, Tensor],
        *,
        masks: Mapping[str, Tensor],
        first: int,
    ) -> dict[str, Tensor]:
        """Queries {m: (B, H, Tq, d)} from key `first` on → {m: (B, Tq, W)}, the mean over sides with a valid key."""
        q_PBHTd = torch.stack([queries[query] for query, _ in self.pairs])
        steps = next(iter(masks.values())).shape[-1]
        last = first + q_PBHTd.shape[-2]
        key_first = max(0, first - self.window_steps)
        key_last = last if self.causal else min(steps, last + self.window_steps)
        k_PBHTd = torch.stack([keys[key][..., key_first:key_last, :] for _, key in self.pairs])
        v_PBHTd = torch.stack([values[key][..., key_first:key_last, :] for _, key in self.pairs])
        mask_PBT = torch.stack([masks[key][:, key_first:key_last] for _, key in self.pairs])
        device = mask_PBT.device
        ahead_TT = torch.arange(key_first, key_last, device=device) - torch.arange(first, last, device=device)[:, None]
        near_TT = ahead_TT.abs() <= self.window_steps
        if self.causal:
            near_TT &= ahead_TT <= 0
        allowed_PBTT = mask_PBT.unsqueeze(2) & near_TT
        bias_HTT = self.relative_time(ahead_TT / self.rate_hz).to(q_PBHTd.dtype)
        score_PBHTT = torch.where(allowed_PBTT.unsqueeze(2), bias_HTT, bias_HTT.new_full((), -math.inf))
        attended_NHTd = functional.scaled_dot_product_attention(
            q_PBHTd.flatten(0, 1),
            functional.pad(k_PBHTd, (0, 0, 1, 0)).flatten(0, 1),
            functional.pad(v_PBHTd, (0, 0, 1, 0)).flatten(0, 1),
            attn_mask=functional.pad(score_PBHTT, (1, 0)).flatten(0, 1),
        )
        attended_PBTW = attended_NHTd.transpose(1, 2).reshape(*mask_PBT.shape[:2], last - first, -1)
        reached_PBT = allowed_PBTT.any(-1)
        means = {}
        for name in queries:
            rows = [index for index, (query, _) in enumerate(self.pairs) if query == name]
            means[name] = attended_PBTW[rows].sum(0) / reached_PBT[rows].sum(0).clamp(min=1).unsqueeze(-1)
        return means
