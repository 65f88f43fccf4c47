"""What a parser of transcripts returns, before it is checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.contracts.records import Word

SHORTEST_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Words or lines with their times, and the text where the format has it beside them."""

    timed: tuple[Word, ...] = ()
    text: str = ""


def word_at(text: str, start_s: float, end_s: float) -> Word | None:
    """A word or line, or None for one without a text or with a time that is not a number. Nothing begins before 0, and
    one that ends before it begins, or there, is as short as a word can be."""
    plain = " ".join(text.split())
    if not plain or not (math.isfinite(start_s) and math.isfinite(end_s)):
        return None
    start_s = max(start_s, 0.0)
    return Word(text=plain, start_s=start_s, end_s=max(end_s, start_s + SHORTEST_S))
