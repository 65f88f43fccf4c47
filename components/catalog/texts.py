"""The spoken texts of the splits: a model may recognise a test sentence that it was trained on.

In a scripted corpus (`Clip.text_id`) every person speaks the same sentences, so splits that keep people apart share all
of them. Shared texts are always reported. With `catalog.by_text` texts are kept apart too, at the cost of every clip
whose person and text are in different splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.catalog.clips import OUT, Clips, Splits
from components.catalog.splits import SPLITS, blocks, rank
from components.contracts.errors import DataError


def shared_texts(clips: Clips, split: Splits) -> dict[str, dict[str, int]]:
    """Text id → split → clips, of every text in more than one split, sorted."""
    counts = clips.texts.in_splits(split)
    shared = (counts > 0).sum(1) > 1
    names = clips.texts.names.filter(shared).to_pylist()
    return {
        text: {split: clips for split, clips in zip(SPLITS, counts_S, strict=True) if clips}
        for text, counts_S in zip(names, counts[shared].tolist(), strict=True)
    }


def keep_texts_apart(clips: Clips, split: Splits, fractions: Mapping[str, float], seed: int) -> Splits:
    """The split of each clip that remains when no text is in two splits.

    A text that is spoken in one split only stays there, and so does a clip without a text. The other texts are dealt
    like people: in the order of a hash, cut into blocks of the configured sizes, at least one for every split that
    would otherwise be empty.

    Args:
        clips: those of the catalog. split: of each, people apart.
        fractions: split → share of the texts. seed: a different seed gives a different deal.

    Raises:
        DataError: there are too few texts.
    """
    texts = clips.texts
    spoken = texts.in_splits(split) > 0
    shared = np.flatnonzero(spoken.sum(1) > 1)
    # One more, for clips without a text (-1): they stay where they are, and so do texts of one split.
    split_of_text = np.append(np.where(spoken.sum(1) == 1, spoken.argmax(1), OUT), OUT).astype(np.int8)
    stays = (texts.codes < 0) | (split_of_text[texts.codes] != OUT)
    bare = [name for name in fractions if not (split[stays] == SPLITS.index(name)).any()]
    names = texts.names.take(shared).to_pylist()
    if len(shared) < len(bare):
        raise DataError(
            "too few texts to keep them apart in the splits",
            where="catalog.by_text",
            seen=f"{len(shared)} that are spoken in several splits ({', '.join(names)}); all clips of "
            f"{', '.join(bare)} speak one of them",
            allowed=f"at least {len(bare)}: one each for {', '.join(bare)}",
            remedy="Set catalog.by_text: false and report that texts recur, or bring a corpus with more texts",
        )
    order = sorted(range(len(names)), key=lambda place: rank(seed, names[place]))
    split_of_text[shared[order]] = [SPLITS.index(name) for name in _dealt(len(shared), fractions, bare)]
    return np.where((texts.codes < 0) | (split_of_text[texts.codes] == split), split, OUT).astype(np.int8)


def _dealt(count: int, fractions: Mapping[str, float], bare: Sequence[str]) -> list[str]:
    """The split of each of `count` texts."""
    if count < len(fractions):
        return [*bare, *list(fractions)[:1] * (count - len(bare))]
    cuts = blocks(count, list(fractions.values()))
    return [split for split, (first, last) in zip(fractions, cuts, strict=True) for _ in range(first, last)]
