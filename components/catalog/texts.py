"""The spoken texts of the splits: a model may recognise a test sentence that it was trained on.

In a scripted corpus (`Clip.text_id`) every person speaks the same sentences, so splits that keep people apart share all
of them. Shared texts are always reported. With `catalog.by_text` texts are kept apart too, at the cost of every clip
whose person and text are in different splits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from components.catalog.splits import SPLITS, blocks, rank
from components.contracts.errors import DataError

Row = Mapping[str, Any]


def splits_of_texts(rows: Sequence[Row], split_of: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Text id → split → clips, of every text, sorted."""
    clips: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["text_id"] is not None:
            clips[row["text_id"]][split_of[row["clip_id"]]] += 1
    return {text: {split: counts[split] for split in SPLITS if counts[split]} for text, counts in sorted(clips.items())}


def keep_texts_apart(
    rows: Sequence[Row], split_of: Mapping[str, str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Clip id → split for the clips that remain when no text is in two splits.

    A text that is spoken in one split only stays there, and so does a clip without a text. The other texts are dealt
    like people: in the order of a hash, cut into blocks of the configured sizes, at least one for every split that
    would otherwise be empty.

    Args:
        rows: catalog rows without `split`. split_of: clip id → split, people apart.
        fractions: split → share of the texts. seed: a different seed gives a different deal.

    Raises:
        DataError: there are too few texts.
    """
    texts = splits_of_texts(rows, split_of)
    shared = sorted((text for text, splits in texts.items() if len(splits) > 1), key=lambda text: rank(seed, text))
    own = {text: next(iter(splits)) for text, splits in texts.items() if len(splits) == 1}
    safe = {split_of[row["clip_id"]] for row in rows if row["text_id"] is None or row["text_id"] in own}
    bare = [split for split in fractions if split not in safe]
    if len(shared) < len(bare):
        raise DataError(
            "too few texts to keep them apart in the splits",
            where="catalog.by_text",
            seen=f"{len(shared)} that are spoken in several splits ({', '.join(sorted(shared))}); all clips of "
            f"{', '.join(bare)} speak one of them",
            allowed=f"at least {len(bare)}: one each for {', '.join(bare)}",
            remedy="Set catalog.by_text: false and report that texts recur, or bring a corpus with more texts",
        )
    dealt = own | dict(zip(shared, _dealt(len(shared), fractions, bare), strict=True))
    return {
        row["clip_id"]: split_of[row["clip_id"]]
        for row in rows
        if row["text_id"] is None or dealt[row["text_id"]] == split_of[row["clip_id"]]
    }


def _dealt(count: int, fractions: Mapping[str, float], bare: Sequence[str]) -> list[str]:
    """The split of each of `count` texts."""
    if count < len(fractions):
        return [*bare, *list(fractions)[:1] * (count - len(bare))]
    cuts = blocks(count, list(fractions.values()))
    return [split for split, (first, last) in zip(fractions, cuts, strict=True) for _ in range(first, last)]
