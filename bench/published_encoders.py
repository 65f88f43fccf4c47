"""The encoders of arXiv 2603.11971, at their published sizes.

`openai/clip-vit-base-patch32` and `facebook/wav2vec2-base-960h` run through the project's own checkpoint encoders.
Their *weights are random*: a frozen encoder costs the same whatever it has learned, and so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from components.features.base import Encoder
from components.features.registry import CHECKPOINT, create

VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 32,
    "image_size": 224,
    "projection_dim": 512,
}
VOICE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}


def published_encoders(
    folder: Path, *, vision: Mapping[str, int] = VISION, voice: Mapping[str, int] = VOICE
) -> dict[str, Encoder]:
    """Both encoders, saved below `folder` (730 MB) and read from there; `vision` and `voice` are their sizes."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**vision)).save_pretrained(folder / "clip")
    Wav2Vec2Model(Wav2Vec2Config(**voice)).save_pretrained(folder / "wav2vec2")
    return {
        "face": create(f"{CHECKPOINT}{folder / 'clip'}", "face", "cpu"),
        "voice": create(f"{CHECKPOINT}{folder / 'wav2vec2'}", "voice", "cpu"),
    }
