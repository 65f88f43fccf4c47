"""Whisper's audio encoder in plain torch, filled from a CTranslate2 model (Radford et al. 2022, §2.2).

Two convolutions (the second of stride 2) with GELU, sinusoidal positions, pre-norm transformer layers, a final norm.
Shapes: B batch, F mel frame, N frame after the stride (20 ms), H heads, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from components.runtime.transformer_layer import TransformerLayer

KERNEL = 3


class WhisperEncoder(nn.Module):
    """Log-mel (B, 80, F) → hidden states (B, ceil(F / 2), D), one each 20 ms; F may be any length up to 3,000."""

    def __init__(self, *, mels: int, width: int, heads: int, layers: int, max_frames: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, KERNEL, padding=1)
        self.conv2 = nn.Conv1d(width, width, KERNEL, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(max_frames, width))
        self.layers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def hidden_states(self, mel_BMF: Tensor, *, layers: int | None = None) -> list[Tensor]:
        """The input of the first layer and the output of each, (B, N, D); the last layer's is normalised.

        With `layers`, only so many layers run.
        """
        x_BDN = functional.gelu(self.conv2(functional.gelu(self.conv1(mel_BMF))))
        x_BND = x_BDN.transpose(1, 2)
        states = [x_BND + self.positions[: x_BND.shape[1]]]
        for layer in self.layers[:layers]:
            states.append(layer(states[-1]))
        if len(states) == len(self.layers) + 1:
            states[-1] = self.norm(states[-1])
        return states

    def forward(self, mel_BMF: Tensor) -> Tensor:
        """The normalised output of the last layer, (B, N, D)."""
        return self.hidden_states(mel_BMF)[-1]


def encoder_from_ct2(variables: Mapping[str, NDArray[np.generic]]) -> WhisperEncoder:
    """The encoder of a CTranslate2 `WhisperSpec`, in float32 and evaluation mode."""
    width, mels, _ = variables["encoder/conv1/weight"].shape
    layers = sum(name.endswith("/ffn/linear_0/weight") for name in variables if name.startswith("encoder/layer_"))
    net = WhisperEncoder(
        mels=mels,
        width=width,
        heads=int(variables["encoder/num_heads"]),
        layers=layers,
        max_frames=variables["encoder/position_encodings/encodings"].shape[0],
    )
    names = {"positions": "encoder/position_encodings/encodings"}
    names |= {f"{conv}.{part}": f"encoder/{conv}/{part}" for conv in ("conv1", "conv2") for part in ("weight", "bias")}
    names |= {"norm.weight": "encoder/layer_norm/gamma", "norm.bias": "encoder/layer_norm/beta"}
    for index in range(layers):
        ours, theirs = f"layers.{index}", f"encoder/layer_{index}"
        for norm, block in (("attention_norm", "self_attention"), ("ffn_norm", "ffn")):
            names[f"{ours}.{norm}.weight"] = f"{theirs}/{block}/layer_norm/gamma"
            names[f"{ours}.{norm}.bias"] = f"{theirs}/{block}/layer_norm/beta"
        for linear, source in (
            ("qkv", "self_attention/linear_0"),
            ("out", "self_attention/linear_1"),
            ("up", "ffn/linear_0"),
            ("down", "ffn/linear_1"),
        ):
            for part in ("weight", "bias"):
                names[f"{ours}.{linear}.{part}"] = f"{theirs}/{source}/{part}"
    net.load_state_dict({ours: torch.from_numpy(variables[name].astype(np.float32)) for ours, name in names.items()})
    return net.eval().requires_grad_(False)
