"""`minilm` (text): all-MiniLM-L6-v2, 384 features per step; needs no download.

Each utterance (`utterances.py`) goes through the encoder as a whole, so that every word is seen in its context. A
word's vector is the mean over its word pieces, the utterance's is the mean over all its tokens (Reimers and Gurevych
2019, "Sentence-BERT", §3, mean pooling; not L2-normalised, the transform standardises). `on_grid` blends the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import read_json
from components.contracts.fingerprint import fingerprint
from components.contracts.records import AlignedClip
from components.features.base import Encoded, empty
from components.features.encoders.utterances import (
    UTTERANCES_VERSION,
    WORD_SHARE,
    Utterance,
    on_grid,
    utterances,
    word_means,
    word_of_offsets,
)
from components.runtime.weights import WEIGHTS, weight_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from components.features.encoders.bert_net import BertEncoder

VERSION = 3
# Versions before it give the same features for words that blanks separate.
ALIKE = (2,)
WIDTH = 384
MAX_TOKENS = 512
PARTS = ("minilm-weights", "minilm-config", "minilm-tokenizer")


class MiniLm:
    """MiniLM in float32 on the CPU. About 12 ms an utterance on one thread."""

    modality = "text"
    width = WIDTH
    languages: tuple[str, ...] = ("en",)

    def __init__(self, name: str = "minilm") -> None:
        self.name = name
        self._loaded: tuple[BertEncoder, Tokenizer] | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, this code's version, its settings and the weights."""
        return self._fingerprint(VERSION)

    @property
    def earlier_fingerprints(self) -> frozenset[str]:
        """Those of the versions in ALIKE."""
        return frozenset(map(self._fingerprint, ALIKE))

    def _fingerprint(self, version: int) -> str:
        return fingerprint(
            {
                "spec": self.name,
                "version": [version, UTTERANCES_VERSION],
                "word_share": WORD_SHARE,
                "weights": [WEIGHTS[part].sha256 for part in PARTS],
            }
        )

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 384) per clip; valid where the text mask is and an utterance lasts."""
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        spoken = utterances(clip.words)
        if not spoken:
            return empty(clip.grid.num_steps, self.width)
        pairs = [self._vectors(utterance) for utterance in spoken]
        return on_grid(clip, spoken, [words for words, _ in pairs], np.stack([whole for _, whole in pairs]))

    def sentences(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384), one vector a text: the mean over all its tokens."""
        return np.stack([self._hidden(text)[0].mean(axis=0) for text in texts])

    def _vectors(self, utterance: Utterance) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(words, D) and (D,) of one utterance."""
        hidden, offsets = self._hidden(utterance.text)
        owner = word_of_offsets(utterance, offsets)
        return word_means(hidden, owner, len(utterance.words)), hidden.mean(axis=0)

    def _hidden(self, text: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(tokens, D) and where each token stands in the text."""
        import torch

        model, tokenizer = self._parts()
        tokens = tokenizer.encode(text)
        with torch.inference_mode():
            ids = torch.tensor([tokens.ids])
            hidden = model(ids)[0].numpy()
        return hidden, np.array(tokens.offsets)

    def _parts(self) -> tuple[BertEncoder, Tokenizer]:
        if self._loaded is None:
            from safetensors.torch import load_file
            from tokenizers import Tokenizer

            from components.features.encoders.bert_net import bert_from_checkpoint

            weights = load_file(weight_file("minilm-weights"))
            model = bert_from_checkpoint(read_json(weight_file("minilm-config")), weights)
            tokenizer = Tokenizer.from_file(str(weight_file("minilm-tokenizer")))
            tokenizer.no_padding()
            tokenizer.enable_truncation(MAX_TOKENS)
            self._loaded = (model, tokenizer)
        return self._loaded
