"""A layer of a transformer encoder: an encoder of features has it, and a model in which such layers learn.

Shapes: B batch, N frame, H heads, D width. Masks are True = valid.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

FFN_FACTOR = 4


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, each with a residual; query, key and value in one projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, FFN_FACTOR * width)
        self.down = nn.Linear(FFN_FACTOR * width, width)

    def forward(self, x_BND: Tensor, attended_BN: Tensor | None = None) -> Tensor:
        """(B, N, D) → (B, N, D).

        Args:
            x_BND: the frames.
            attended_BN: the frames that the others see, at least one in each row; all of them by default.
        """
        batch, length, width = x_BND.shape
        qkv = self.qkv(self.attention_norm(x_BND)).view(batch, length, 3, self.heads, width // self.heads)
        q_BHND, k_BHND, v_BHND = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mask_B11N = None if attended_BN is None else attended_BN[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(q_BHND, k_BHND, v_BHND, attn_mask=mask_B11N)
        x_BND = x_BND + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x_BND + self.down(functional.gelu(self.up(self.ffn_norm(x_BND))))
