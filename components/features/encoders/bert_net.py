"""BERT's encoder out of torch's own layers, filled from a checkpoint with BERT's parameter names (Devlin et al. 2019).

Word, position and segment embeddings, normalised; then post-norm transformer layers with GELU. transformers has the
same network; importing it takes seconds, in each process that encodes words, and nothing else of it is needed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class BertEncoder(nn.Module):
    """Token ids (B, N) of one segment, N up to the longest that the checkpoint supports → hidden states (B, N, D)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.segments = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config["num_attention_heads"],
                config["intermediate_size"],
                activation=config["hidden_act"],
                layer_norm_eps=eps,
                batch_first=True,
            )
            for _ in range(config["num_hidden_layers"])
        )

    def forward(self, ids_BN: Tensor) -> Tensor:
        """See the class."""
        place_N = torch.arange(ids_BN.shape[1], device=ids_BN.device)
        segment_BN = torch.zeros_like(ids_BN)
        x_BND: Tensor = self.norm(self.words(ids_BN) + self.positions(place_N) + self.segments(segment_BN))
        for layer in self.layers:
            x_BND = layer(x_BND)
        return x_BND


def bert_from_checkpoint(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> BertEncoder:
    """The encoder of a checkpoint, in evaluation mode.

    Args:
        config: its `config.json`.
        weights: its tensors, by the names of transformers' `BertModel`. What comes after the last layer is left out.
    """
    state = {f"norm.{part}": weights[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")}
    for ours, theirs in (("words", "word"), ("positions", "position"), ("segments", "token_type")):
        state[f"{ours}.weight"] = weights[f"embeddings.{theirs}_embeddings.weight"]
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
    }
    for index in range(config["num_hidden_layers"]):
        theirs = f"encoder.layer.{index}"
        for part in ("weight", "bias"):
            state |= {f"layers.{index}.{o}.{part}": weights[f"{theirs}.{t}.{part}"] for o, t in names.items()}
            # torch holds query, key and value in one matrix.
            inputs = [weights[f"{theirs}.attention.self.{role}.{part}"] for role in ("query", "key", "value")]
            state[f"layers.{index}.self_attn.in_proj_{part}"] = torch.cat(inputs)
    net = BertEncoder(config)
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)
