from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Punctuation, Sequence, Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTModel,
)

from components.contracts.errors import ConfigError
from components.contracts.records import Word
from components.features.registry import create
from tests.builders import make_aligned_clip

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "what", "a", "day", "!", "never", "again"]
TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}


@pytest.fixture(scope="module", params=["roberta", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    model = RobertaModel(RobertaConfig(**TINY)) if request.param == "roberta" else BertModel(BertConfig(**TINY))
    model.save_pretrained(path)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Sequence([Whitespace(), Punctuation()])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(path)
    return path


def said(text: str, steps: int = 20) -> object:
    words = tuple(
        Word(text=word, start_s=0.2 * index, end_s=0.2 * (index + 1)) for index, word in enumerate(text.split())
    )
    return make_aligned_clip(steps=steps, words=words, masks={"text": np.ones(steps, bool)})


def test_steps_are_half_word_half_utterance(folder: Path) -> None:
    encoder = create(f"transformers:{folder}", "text", "cpu")
    (encoded,) = encoder.encode([said("what a day!")])  # type: ignore[list-item]
    assert encoded.values.shape == (20, encoder.width) == (20, 24)
    assert np.nonzero(encoded.valid)[0].tolist() == list(range(6))
    net = BertModel if "bert0" in folder.name and "roberta" not in folder.name else RobertaModel
    model = net.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([[1, 4, 5, 6, 7, 2]])).last_hidden_state[0].numpy()
    whole = hidden.mean(axis=0)
    for steps, tokens in (((0, 1), [1]), ((2, 3), [2]), ((4, 5), [3, 4])):
        for step in steps:
            np.testing.assert_allclose(encoded.values[step], (hidden[tokens].mean(axis=0) + whole) / 2, atol=1e-5)


def test_a_clip_does_not_depend_on_its_neighbours(folder: Path) -> None:
    encoder = create(f"transformers:{folder}", "text", "cpu")
    clips = [said("what a day! never again"), make_aligned_clip(words=()), said("never")]
    for clip, encoded in zip(clips, encoder.encode(clips), strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(encoder.encode([clip])[0].values, encoded.values)  # type: ignore[list-item]


def test_more_tokens_than_positions(folder: Path) -> None:
    encoder = create(f"transformers:{folder}", "text", "cpu")
    (encoded,) = encoder.encode([said("never again " * 28, steps=120)])  # type: ignore[list-item]
    assert np.isfinite(encoded.values).all()
    assert encoded.valid.sum() == 112


def test_a_vision_model_is_no_text_encoder(tmp_path: Path) -> None:
    ViTModel(
        ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="not a supported text encoder; seen 'vit'"):
        create(f"transformers:{tmp_path}", "text", "cpu")
