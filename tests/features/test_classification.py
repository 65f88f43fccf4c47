"""Checkpoints with a classification head: the scores are the checkpoint's own, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
)

from components.contracts.records import Word
from components.features.base import Classifying, pretrained_of
from components.features.registry import create
from tests.builders import make_aligned_clip

NAMES = {0: "ANG", 1: "happy", 2: "Sadness", 3: "LABEL_3"}
LABELS = ("anger", "happiness", "sadness", None)
WORDS = ["<pad>", "<unk>", "what", "a", "day", "never", "again"]


def saved(folder: Path, model: Any) -> Path:
    model.eval().save_pretrained(folder)
    return folder


def vision(folder: Path, **options: Any) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = ViTConfig(**sizes, image_size=30, patch_size=6, **options)
    saved(folder, ViTForImageClassification(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 30, "width": 30}}))
    return folder


def language(folder: Path, **options: Any) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, vocab_size=len(WORDS), max_position_embeddings=40, pad_token_id=0, **options)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return saved(folder, BertForSequenceClassification(config))


def speech(folder: Path, **options: Any) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2}
    convolutions = {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(**sizes, **convolutions, classifier_proj_size=8, **options)
    return saved(folder, Wav2Vec2ForSequenceClassification(config))


MADE = {"face": vision, "text": language, "voice": speech}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name), id2label=NAMES) for name, make in MADE.items()}


def encoder_of(folder: Path, modality: str) -> Any:
    return create(f"transformers:{folder}", modality, "cpu")


@pytest.mark.parametrize("modality", sorted(MADE))
def test_labels_are_mapped_by_name(checkpoints: dict[str, Path], modality: str) -> None:
    own = pretrained_of(encoder_of(checkpoints[modality], modality))
    assert own is not None
    assert own.labels == LABELS
    assert str(checkpoints[modality]) in own.trained_on


@pytest.mark.parametrize("names", [{0: "LABEL_0", 1: "LABEL_1"}, {0: "cat", 1: "anger"}])
def test_a_head_that_names_no_two_emotions_is_none(tmp_path: Path, names: dict[int, str]) -> None:
    assert pretrained_of(encoder_of(vision(tmp_path, id2label=names), "face")) is None


def test_a_checkpoint_without_a_head_has_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved(vision(tmp_path, id2label=NAMES), ViTForImageClassification.from_pretrained(tmp_path).vit)
    encoder = encoder_of(tmp_path, "face")
    assert isinstance(encoder, Classifying)
    assert pretrained_of(encoder) is None


def test_pictures_have_the_scores_of_the_checkpoint(checkpoints: dict[str, Path]) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 255, (30, 30, 3), dtype=np.uint8) for seed in range(3)]
    crops = tuple(bytes(cv2.imencode(".png", picture[:, :, ::-1])[1]) for picture in pictures)
    clip = make_aligned_clip(steps=4, face_jpeg=(*crops, None))
    [scores] = encoder_of(checkpoints["face"], "face").classify([clip])
    model = ViTForImageClassification.from_pretrained(checkpoints["face"]).eval()
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255.0
    with torch.inference_mode():
        expected = model(
            pixel_values=(pixels - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
            / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        ).logits.numpy()
    assert scores.valid.tolist() == [True, True, True, False]
    np.testing.assert_allclose(scores.values[:3], expected, atol=1e-4)
    assert not scores.values[3].any()


def test_each_step_of_an_utterance_has_its_scores(checkpoints: dict[str, Path]) -> None:
    said = ["what", "a", "day", "never", "again"]
    starts_s = [0.0, 0.2, 0.4, 2.0, 2.2]  # a pause of over a second between two utterances
    words = tuple(Word(text=text, start_s=at, end_s=at + 0.2) for text, at in zip(said, starts_s, strict=True))
    clip = make_aligned_clip(steps=24, words=words, masks={"text": np.ones(24, bool)})
    [scores] = encoder_of(checkpoints["text"], "text").classify([clip])
    model = BertForSequenceClassification.from_pretrained(checkpoints["text"]).eval()
    for ids, step in (([2, 3, 4], 3), ([5, 6], 21)):
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([ids])).logits[0].numpy()
        np.testing.assert_allclose(scores.values[step], expected, atol=1e-5)
    assert scores.valid.tolist() == [*[True] * 6, *[False] * 14, *[True] * 4]


def test_a_voice_has_one_opinion_wherever_it_is_heard(checkpoints: dict[str, Path]) -> None:
    pcm = (np.random.default_rng(0).standard_normal(16_000) * 3000).astype(np.int16)
    heard = np.array([True] * 7 + [False] * 3)
    clip = make_aligned_clip(steps=10, pcm=pcm, masks={"voice": heard})
    encoder = encoder_of(checkpoints["voice"], "voice")
    [scores], [features] = encoder.classify([clip]), encoder.encode([clip])
    assert scores.valid.tolist() == features.valid.tolist() == heard.tolist()
    assert np.ptp(scores.values[heard], axis=0) == pytest.approx(np.zeros(4), abs=1e-6)
    assert scores.values[heard].any()


@pytest.mark.parametrize("modality", sorted(MADE))
def test_a_clip_without_the_modality_has_no_scores(checkpoints: dict[str, Path], modality: str) -> None:
    nothing = np.zeros(5, bool)
    clip = make_aligned_clip(
        steps=5, face_jpeg=(None,) * 5, words=(), masks={"face": nothing, "voice": nothing, "text": nothing}
    )
    [scores] = encoder_of(checkpoints[modality], modality).classify([clip])
    assert scores.values.shape == (5, 4)
    assert not scores.valid.any()
