"""The texts of the contrastive loss: the prompts of the classes, embedded."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from components.contracts.config import Model, Train
from components.features.encoders.minilm import WIDTH, MiniLm
from components.model.spec import ModelSpec


def embedding_width(train: Train, model: Model) -> int:
    """Width of the embedding that a model needs for its contrastive loss; 0 without one."""
    if train.contrastive_loss == 0:
        return 0
    return WIDTH if train.contrastive_text == "minilm" else model.width


def class_texts(train: Train, spec: ModelSpec) -> Tensor | None:
    """(K, E) of length 1, one prompt per class, embedded once per process; None without texts or with learned ones."""
    if train.contrastive_loss == 0 or train.contrastive_text == "learned":
        return None
    return _embedded(tuple(train.contrastive_prompt.format(emotion=name) for name in spec.classes))


@lru_cache(maxsize=4)
def _embedded(prompts: tuple[str, ...]) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(MiniLm().sentences(prompts)), dim=-1)
