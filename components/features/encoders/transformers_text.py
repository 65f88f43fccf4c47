"""`transformers:<name or folder>` (text): RoBERTa, BERT, MiniLM and their like.

Works as `minilm.py` does: each utterance in one piece, a word is the mean over its tokens, the utterance the mean over
all its tokens, blended on the grid by `utterances.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import UnavailableError
from components.contracts.pretrained import Pretrained
from components.contracts.records import AlignedClip
from components.features.base import Encoded, empty
from components.features.classification import ClassificationHead
from components.features.encoders.utterances import (
    UTTERANCES_VERSION,
    Utterance,
    on_grid,
    utterances,
    word_means,
    word_of_offsets,
)
from components.runtime.checkpoint import Checkpoint, load_model

VERSION = 2
# Versions before it give the same features for words that blanks separate.
ALIKE = (1,)
MAX_TOKENS = 512
BATCH_UTTERANCES = 32
# Families whose encoder alone reads a text; a decoder or a vision model would load and mean nothing.
MODEL_TYPES = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
)


# An utterance, the model's output for it, and of each of its tokens the span in the text and whether it is no padding.
TextOutput = tuple[Utterance, NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]


class TransformersText:
    """A text checkpoint; half precision and batches across clips on a GPU, each utterance by itself in float32 on a
    CPU."""

    modality = "text"
    languages: tuple[str, ...] = ()  # nothing in a checkpoint says so; whoever names it can

    def __init__(self, name: str, location: str, device: str) -> None:
        self.name = name
        self._checkpoint = Checkpoint(name, location, device)
        config = self._checkpoint.config
        self._checkpoint.require_type(MODEL_TYPES, modality=self.modality)
        self.width = int(config.get("hidden_size") or config["dim"])
        # RoBERTa's positions start after the padding index, so two of its 514 are not for tokens.
        self._max_tokens = min(MAX_TOKENS, int(config.get("max_position_embeddings", MAX_TOKENS)) - 2)
        self._head = ClassificationHead(
            self._checkpoint, "ForSequenceClassification", "AutoModelForSequenceClassification"
        )
        self._loaded_tokenizer: Any = None

    @property
    def fingerprint(self) -> str:
        """Hash of this code's version, the checkpoint's content and the precision."""
        return self._fingerprint(VERSION)

    @property
    def pretrained(self) -> Pretrained | None:
        """The emotions of its classification head, if it has one."""
        return self._head.pretrained

    @property
    def earlier_fingerprints(self) -> frozenset[str]:
        """Those of the versions in ALIKE."""
        return frozenset(map(self._fingerprint, ALIKE))

    def _fingerprint(self, version: int) -> str:
        return self._checkpoint.content_fingerprint(["text", version, UTTERANCES_VERSION])

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, D) per clip; valid where the text mask is and an utterance lasts."""
        spoken = [utterances(clip.words) for clip in clips]
        vectors = self._vectors([utterance for group in spoken for utterance in group])
        encoded, at = [], 0
        for clip, group in zip(clips, spoken, strict=True):
            own = vectors[at : at + len(group)]
            at += len(group)
            if own:
                encoded.append(on_grid(clip, group, [words for words, _ in own], np.stack([whole for _, whole in own])))
            else:
                encoded.append(empty(clip.grid.num_steps, self.width))
        return encoded

    def classify(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, labels) scores per clip: those of its utterance at each step, valid as `encode`."""
        encoded = []
        for clip in clips:
            group = utterances(clip.words)
            if not group:
                encoded.append(empty(clip.grid.num_steps, self._head.width))
                continue
            rows = [row for _, row, _, _ in self._outputs(self._head.model(), group, lambda out: out.logits)]
            words = [np.tile(row, (len(utterance.words), 1)) for utterance, row in zip(group, rows, strict=True)]
            encoded.append(on_grid(clip, group, words, np.stack(rows)))
        return encoded

    def _vectors(self, spoken: Sequence[Utterance]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """(words, D) and (D,) of each utterance."""
        if not spoken:
            return []
        vectors = []
        for utterance, hidden, offset, mask in self._outputs(self._model(), spoken, lambda out: out.last_hidden_state):
            owner = word_of_offsets(utterance, offset[mask])
            vectors.append((word_means(hidden[mask], owner, len(utterance.words)), hidden[mask].mean(axis=0)))
        return vectors

    def _outputs(self, model: Any, spoken: Sequence[Utterance], output: Callable[[Any], Any]) -> Iterator[TextOutput]:
        """What a model gives for each utterance, in batches on a GPU."""
        import torch

        batch_size = BATCH_UTTERANCES if self._checkpoint.device == "cuda" else 1
        for start in range(0, len(spoken), batch_size):
            batch = spoken[start : start + batch_size]
            tokens = self._tokens(batch)
            offsets = tokens.pop("offset_mapping").numpy()
            with torch.inference_mode():
                inputs = {name: values.to(self._checkpoint.device) for name, values in tokens.items()}
                rows = output(model(**inputs)).float().cpu().numpy()
            yield from zip(batch, rows, offsets, tokens["attention_mask"].numpy().astype(bool), strict=True)

    def _tokens(self, batch: Sequence[Utterance]) -> Any:
        """The tokens of utterances, padded to the longest, with their offsets."""
        return self._tokenizer()(
            [utterance.text for utterance in batch],
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_offsets_mapping=True,
            return_tensors="pt",
        )

    def _model(self) -> Any:
        if self._checkpoint.model is None:
            self._checkpoint.model = load_model("AutoModel", self._checkpoint.folder, self._checkpoint.device)
        return self._checkpoint.model

    def _tokenizer(self) -> Any:
        if self._loaded_tokenizer is None:
            from transformers import AutoTokenizer

            folder = self._checkpoint.folder
            try:
                self._loaded_tokenizer = AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
            except (OSError, ValueError) as error:
                raise UnavailableError(
                    "the checkpoint has no usable tokenizer",
                    where=str(folder),
                    seen=str(error),
                    remedy="Save its tokenizer.json beside the weights",
                ) from error
        return self._loaded_tokenizer
