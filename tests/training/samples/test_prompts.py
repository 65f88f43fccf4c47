from __future__ import annotations

import torch

from components.contracts.config import Model, Train
from components.features.encoders.minilm import WIDTH, MiniLm
from components.model.spec import ModelSpec
from components.training.samples.prompts import class_texts, embedding_width

SPEC = ModelSpec(modalities={"voice": 3}, classes=("anger", "happiness", "sadness"), model=Model(), embedding=WIDTH)


def test_each_class_has_its_prompt_embedded() -> None:
    texts = class_texts(Train(contrastive_loss=0.1, contrastive_prompt="I feel {emotion}"), SPEC)
    assert texts is not None
    assert torch.allclose(texts.norm(dim=-1), torch.ones(3))
    own = torch.from_numpy(MiniLm().sentences(["I feel anger", "I feel happiness", "I feel sadness"]))
    assert torch.allclose(texts, torch.nn.functional.normalize(own, dim=-1))
    assert torch.linalg.matrix_rank(texts) == 3


def test_no_text_is_embedded_where_none_is_needed() -> None:
    for train in (Train(), Train(contrastive_loss=0.1, contrastive_text="learned")):
        assert class_texts(train, SPEC) is None


def test_the_embedding_is_as_wide_as_the_text() -> None:
    model = Model(width=48)
    assert embedding_width(Train(), model) == 0
    assert embedding_width(Train(contrastive_loss=0.1), model) == WIDTH
    assert embedding_width(Train(contrastive_loss=0.1, contrastive_text="learned"), model) == 48
