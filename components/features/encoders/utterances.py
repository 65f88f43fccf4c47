"""What the text encoders share: which words belong together, and how word vectors become step vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from components.alignment.tokens import written_together
from components.contracts.records import AlignedClip, Word
from components.features.base import Encoded, mask_of, masked

SENTENCE_END = (".", "!", "?", "…", "。", "！", "？")
PAUSE_S = 1.0
MAX_WORDS = 60
# How much of a step's vector is the word spoken there; the rest is its utterance.
WORD_SHARE = 0.5
UTTERANCES_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """Consecutive words that are understood together; `words` are not empty and in order of time."""

    words: tuple[Word, ...]

    @property
    def blanks(self) -> tuple[str, ...]:
        """What is written after each word: a blank, or nothing in a script without blanks and after the last word."""
        between = ["" if written_together(*pair) else " " for pair in pairwise(word.text for word in self.words)]
        return (*between, "")

    @property
    def text(self) -> str:
        """The words as their language writes them."""
        return "".join(word.text + blank for word, blank in zip(self.words, self.blanks, strict=True))


def utterances(words: Sequence[Word]) -> list[Utterance]:
    """Cuts words, ordered by time, after a sentence's end, at a pause of 1 s, and at 60 words.

    An utterance is what a sentence encoder was trained on; a whole monologue would average every mood in it away.
    """
    cut: list[Utterance] = []
    current: list[Word] = []
    for word in sorted((word for word in words if word.text.strip()), key=lambda word: (word.start_s, word.end_s)):
        if current and (
            current[-1].text.rstrip("\"')]”’").endswith(SENTENCE_END)
            or word.start_s - current[-1].end_s >= PAUSE_S
            or len(current) >= MAX_WORDS
        ):
            cut.append(Utterance(words=tuple(current)))
            current = []
        current.append(word)
    if current:
        cut.append(Utterance(words=tuple(current)))
    return cut


def on_grid(
    clip: AlignedClip, spoken: Sequence[Utterance], vectors: Sequence[NDArray[np.float32]], whole: NDArray[np.float32]
) -> Encoded:
    """Places word vectors on a clip's grid.

    A step holds half the mean vector of the words that overlap it (weighted by seconds) and half its utterance's
    vector, so that every step holds both the words at that moment and their context; a step between two words of an
    utterance holds the utterance's vector alone. As the utterance's vector is the mean over its words, the mean over
    its steps stays near the sentence embedding that the encoder was trained to make.

    Args:
        clip: whose grid and text mask count.
        spoken: its utterances.
        vectors: per utterance, (words, D).
        whole: (utterances, D), each utterance's own vector.
    """
    grid = clip.grid
    width = whole.shape[1]
    word_sum, utterance_sum = np.zeros((grid.num_steps, width)), np.zeros((grid.num_steps, width))
    word_s, utterance_s = np.zeros(grid.num_steps), np.zeros(grid.num_steps)
    for utterance, word_vectors, vector in zip(spoken, vectors, whole, strict=True):
        for word, word_vector in zip(utterance.words, word_vectors, strict=True):
            steps, seconds = _overlap(clip, word.start_s, word.end_s)
            word_sum[steps] += seconds[:, None] * word_vector
            word_s[steps] += seconds
        steps, seconds = _overlap(clip, utterance.words[0].start_s, max(word.end_s for word in utterance.words))
        utterance_sum[steps] += seconds[:, None] * vector
        utterance_s[steps] += seconds
    in_word, in_utterance = word_s > 0, utterance_s > 0
    values = np.zeros((grid.num_steps, width))
    values[in_utterance] = utterance_sum[in_utterance] / utterance_s[in_utterance, None]
    values[in_word] *= 1.0 - WORD_SHARE
    values[in_word] += WORD_SHARE * word_sum[in_word] / word_s[in_word, None]
    return masked(values.astype(np.float32), in_utterance & mask_of(clip, "text"))


def word_of_offsets(utterance: Utterance, offsets: NDArray[np.integer]) -> NDArray[np.int64]:
    """The word (tokens,) each token lies in, by its span (tokens, 2) in the utterance's text; −1 for special tokens."""
    ends = np.cumsum([len(word.text + blank) for word, blank in zip(utterance.words, utterance.blanks, strict=True)])
    # Some tokenizers count the space before a word as the token's; its last character is surely the word's.
    owner = np.searchsorted(ends, np.maximum(offsets[:, 1] - 1, 0), side="right")
    return np.where(offsets[:, 1] > offsets[:, 0], np.minimum(owner, len(utterance.words) - 1), -1).astype(np.int64)


def word_means(hidden: NDArray[np.float32], owner: NDArray[np.int64], num_words: int) -> NDArray[np.float32]:
    """Mean hidden state (words, D) over each word's tokens, from hidden (tokens, D) and the word of each; a word that
    lost its tokens to the length limit, or has none, has the mean over all."""
    means = np.tile(hidden.mean(axis=0), (num_words, 1))
    for word in range(num_words):
        pieces = owner == word
        if pieces.any():
            means[word] = hidden[pieces].mean(axis=0)
    return means


def _overlap(clip: AlignedClip, start_s: float, end_s: float) -> tuple[slice, NDArray[np.float64]]:
    """The steps an interval overlaps and by how many seconds; an instant counts a little in the step it is in."""
    grid = clip.grid
    end_s = max(end_s, start_s + 1e-3)
    steps = grid.overlap(start_s, end_s)
    index = np.arange(steps.start, steps.stop)
    seconds = np.minimum(end_s, (index + 1) / grid.rate_hz) - np.maximum(start_s, index / grid.rate_hz)
    return steps, np.maximum(seconds, 1e-9)
