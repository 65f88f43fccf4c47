"""Praat's TextGrid, long and short: what is said on tiers of intervals, as aligners and annotators write it.

Praat reads such a file as a row of numbers, quoted texts and flags that stand alone; everything else is comment (Praat
manual, "TextGrid file formats"). So does this parser. The tiers that are called words count, else those of utterances,
else the only tier of intervals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.datasets.transcripts.spoken import Spoken, word_at

SIGNATURE = re.compile(r'\s*(?:File type = )?"ooTextFile')
TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|(?<!\S)(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)%?(?!\S)|(?<!\S)(?P<flag><\w+>)|![^\n]*'
)
WORDS = re.compile(r"\bwords?\b|(?<![a-z])(?:ort|orthography|tokens?)(?![a-z])", re.IGNORECASE)
LINES = re.compile(r"utter|sentence|phrase|transcript|text|speech|line|turn", re.IGNORECASE)
INTERVALS = "IntervalTier"
POINTS = "TextTier"
# How aligners mark that nothing is said.
SILENCE = frozenset({"sil", "sp", "spn", "<eps>", "<sil>", "<sp>", "<p:>", "#", "##", "_", "silence"})


@dataclass(frozen=True, kw_only=True)
class Tier:
    """A tier of intervals."""

    name: str
    intervals: tuple[tuple[float, float, str], ...]


def fits(text: str) -> bool:
    """Whether a text is a file of Praat's."""
    return bool(SIGNATURE.match(text))


def parse(text: str) -> Spoken:
    """The words or lines with their times. Raises ValueError: it is not a TextGrid, is cut off, or does not show which
    of its tiers is meant."""
    tiers = _tiers(_Tokens(text))
    timed = [
        word
        for tier in _said(tiers)
        for start_s, end_s, label in tier.intervals
        if label.strip().lower() not in SILENCE and (word := word_at(label, start_s, end_s)) is not None
    ]
    if not timed:
        raise ValueError("nothing is said in this TextGrid")
    return Spoken(timed=tuple(timed))


def _said(tiers: list[Tier]) -> list[Tier]:
    for names in (WORDS, LINES):
        named = [tier for tier in tiers if names.search(tier.name)]
        if named:
            return named
    if len(tiers) != 1:
        listed = ", ".join(repr(tier.name) for tier in tiers[:8]) or "none"
        raise ValueError(f"which tier of the TextGrid holds the words is not clear (call it words); tiers: {listed}")
    return tiers


class _Tokens:
    """The texts and numbers of a file in turn."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[re.Match[str]] = (match for match in TOKEN.finditer(text) if match.lastgroup)

    def text(self) -> str:
        match = self._next("text")
        return match["text"].replace('""', '"')

    def number(self) -> float:
        number = float(self._next("number")["number"])
        if not math.isfinite(number):
            raise ValueError("a number of the TextGrid is too large")
        return number

    def flag(self) -> str:
        return self._next("flag")["flag"]

    def _next(self, kind: str) -> re.Match[str]:
        match = next(self._tokens, None)
        if match is None or match.lastgroup != kind:
            seen = "its end" if match is None else match.group(0)[:40]
            raise ValueError(f"the TextGrid is cut off or damaged: {seen} in place of a {kind}")
        return match


def _tiers(tokens: _Tokens) -> list[Tier]:
    tokens.text()  # ooTextFile
    kind = tokens.text()
    if kind != "TextGrid":
        raise ValueError(f"this file of Praat's is a {kind[:40]}, not a TextGrid")
    tokens.number(), tokens.number()
    if tokens.flag() != "<exists>":
        return []
    tiers = []
    for _ in range(int(tokens.number())):
        kind, name = tokens.text(), tokens.text()
        tokens.number(), tokens.number()
        count = int(tokens.number())
        if kind == INTERVALS:
            intervals = tuple((tokens.number(), tokens.number(), tokens.text()) for _ in range(count))
            tiers.append(Tier(name=name, intervals=intervals))
        elif kind == POINTS:
            for _ in range(count):
                tokens.number(), tokens.text()
        else:
            raise ValueError(f"the TextGrid has a tier of an unknown kind, {kind[:40]!r}")
    return tiers
