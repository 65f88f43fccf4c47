"""`hashing` (text): hashed words and letter triples, 256 features per step; needs no weights.

Signed feature hashing (Weinberger et al. 2009) of the lower-cased word and its letter trigrams, as in fastText's
subwords (Bojanowski et al. 2017, §3.2), each word's vector L2-normalised; an utterance is the mean of its words. The
hash is BLAKE2b, so the features are the same in every process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from components.contracts.fingerprint import fingerprint
from components.contracts.records import AlignedClip
from components.features.base import Encoded, empty
from components.features.encoders.utterances import UTTERANCES_VERSION, WORD_SHARE, on_grid, utterances

VERSION = 1
WIDTH = 256
LETTERS = 3
# The word itself counts as much as several of its parts.
WHOLE_WORD_WEIGHT = 2.0


class HashedWords:
    """Hashed words in numpy; microseconds a word."""

    modality = "text"
    width = WIDTH
    languages: tuple[str, ...] = ()

    def __init__(self, name: str = "hashing") -> None:
        self.name = name

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, this code's version and its settings."""
        settings = {"width": WIDTH, "letters": LETTERS, "whole": WHOLE_WORD_WEIGHT, "word_share": WORD_SHARE}
        return fingerprint({"spec": self.name, "version": [VERSION, UTTERANCES_VERSION], **settings})

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 256) per clip; valid where the text mask is and an utterance lasts."""
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        spoken = utterances(clip.words)
        if not spoken:
            return empty(clip.grid.num_steps, self.width)
        vectors = [np.stack([hashed(word.text) for word in utterance.words]) for utterance in spoken]
        return on_grid(clip, spoken, vectors, np.stack([words.mean(axis=0) for words in vectors]))


@lru_cache(maxsize=65_536)
def hashed(word: str) -> NDArray[np.float32]:
    """The vector (256,) of one word, of length 1; zero for a word of no letters or digits."""
    plain = "".join(letter for letter in word.lower() if letter.isalnum())
    vector = np.zeros(WIDTH, dtype=np.float32)
    if plain:
        marked = f"<{plain}>"
        parts = [(plain, WHOLE_WORD_WEIGHT)]
        parts += [(f"#{marked[at : at + LETTERS]}", 1.0) for at in range(len(marked) - LETTERS + 1)]
        for part, weight in parts:
            digest = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "little")
            vector[digest % WIDTH] += weight if digest >> 63 else -weight
        norm = float(np.linalg.norm(vector))
        if norm > 0:
            vector /= np.float32(norm)
    vector.setflags(write=False)
    return vector
