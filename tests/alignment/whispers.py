"""A Whisper that says what a test gives it: the real architecture and the real generation, a few hundred weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip
STAMPS = tuple(f"<|{k * 0.02:.2f}|>" for k in range(1501))
PROMPT = 3  # start, language, task: what generation begins with, before it makes a token of its own
WIDTH = 64


def byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte in GPT-2's vocabulary, which Whisper took over."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + k) for k, byte in enumerate(others)}}


def save_whisper(folder: Path, says: Sequence[str] | None, *, heads: bool) -> Path:
    """Saves a tiny Whisper.

    Args:
        folder: where to.
        says: the tokens it says whatever it hears, words with their leading blank and times such as "<|0.20|>"; None
            leaves all weights random.
        heads: whether it names attention heads that follow the sound, which gives each word its own time.
    """
    import torch
    from tokenizers import AddedToken
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    letters = byte_letters()
    vocabulary: dict[str, int] = {letter: index for index, letter in enumerate(letters.values())}
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(token for token in says or () if not token.startswith("<|")):
        grown, *rest = (letters[byte] for byte in word.encode())
        for letter in rest:
            if (grown, letter) not in merges:
                merges.append((grown, letter))
            grown += letter
            vocabulary.setdefault(grown, len(vocabulary))
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_tokens(list(SPECIAL[:1]), special_tokens=True)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    tokenizer.add_tokens([AddedToken(stamp, special=False, normalized=False) for stamp in STAMPS])
    special = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    end = special["<|endoftext|>"]
    ends: dict[str, Any] = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": special["<|startoftranscript|>"],
    }
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=WIDTH, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_target_positions=64, **ends,
    )  # fmt: skip
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    if says is not None:
        _teach(model, [_token(tokenizer, token) for token in says] + [end])
    model.generation_config = GenerationConfig(
        **ends,
        no_timestamps_token_id=special["<|notimestamps|>"],
        prev_sot_token_id=special["<|startofprev|>"],
        is_multilingual=True,
        lang_to_id={"<|en|>": special["<|en|>"]},
        task_to_id={name: special[f"<|{name}|>"] for name in ("transcribe", "translate")},
        max_initial_timestamp_index=1500,
        max_length=40,
        **({"alignment_heads": [[0, 0], [0, 1]]} if heads else {}),
    )
    for part in (model, tokenizer, WhisperFeatureExtractor()):
        part.save_pretrained(os.fspath(folder))
    return folder


def _token(tokenizer: Any, text: str) -> int:
    (token,) = tokenizer(text, add_special_tokens=False).input_ids
    return int(token)


def _teach(model: Any, tokens: Sequence[int]) -> None:
    """Makes each position of the decoder point at the token that is to follow it, whatever the layers add."""
    import torch

    decoder = model.model.decoder
    with torch.no_grad():
        decoder.embed_tokens.weight.mul_(0.01)
        decoder.embed_positions.weight.zero_()
        directions = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
        place: dict[int, Any] = {}
        for token in tokens:
            place.setdefault(token, directions[len(place)])
        for token, direction in place.items():
            decoder.embed_tokens.weight[token] = direction
        for k in range(decoder.embed_positions.weight.shape[0] - PROMPT + 1):
            token = tokens[min(k, len(tokens) - 1)]
            decoder.embed_positions.weight[PROMPT - 1 + k] = 50.0 * place[token]
        for layer in decoder.layers:
            layer.fc2.weight.zero_()
