"""Words on the clip's clock: given times are kept, a line is spread over the speech within its time, and a transcript
without times over all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.alignment.tokens import words_of
from components.contracts.records import Word
from components.contracts.timebase import Grid

BREAK_S = 1e-6  # voiced steps closer than this touch


def placed(words: Sequence[Word], duration_s: float) -> tuple[Word, ...]:
    """Given words cut to `[0, duration_s)` and sorted; those outside it, or without text or length, are left out."""
    inside = []
    for word in words:
        start, end = max(word.start_s, 0.0), min(word.end_s, duration_s)
        if start < end and word.text.strip():
            inside.append(Word(text=word.text, start_s=start, end_s=end))
    inside.sort(key=lambda word: (word.start_s, word.end_s, word.text))
    return tuple(inside)


def by_word(words: Sequence[Word], voiced: NDArray[np.bool_], grid: Grid) -> tuple[tuple[Word, ...], int]:
    """Words in place of lines, and the number of lines: a line is a given word whose text is several words.

    The words of a line are spread over the voiced steps (T,) within its time, over all of it where none is voiced.
    """
    split: list[Word] = []
    lines = 0
    for word in words:
        if len(words_of(word.text)) < 2:
            split.append(word)
            continue
        lines += 1
        split += within(word.text, word.start_s, word.end_s, voiced, grid)
    return tuple(sorted(split, key=lambda word: (word.start_s, word.end_s))) if lines else tuple(words), lines


def within(text: str, start_s: float, end_s: float, voiced: NDArray[np.bool_], grid: Grid) -> tuple[Word, ...]:
    """The words of a text over the voiced steps (T,) within `[start_s, end_s)`, over all of it where none is voiced."""
    inside = np.zeros(grid.num_steps, dtype=bool)
    inside[grid.overlap(start_s, end_s)] = True
    steps = inside & voiced
    return spread(text, steps if steps.any() else inside, grid, end_s, start_s=start_s)


def spread(
    transcript: str, voiced: NDArray[np.bool_], grid: Grid, end_s: float, *, start_s: float = 0.0
) -> tuple[Word, ...]:
    """Lays a transcript over the voiced steps, each word as long as its share of the letters.

    A word counts its letters plus one for the pause behind it. Words are laid along the voiced time as if it were
    continuous; of a word that a pause cuts in two, the longer part is kept, so that no word contains the pause.

    Args:
        transcript: the words, in any script (`tokens.py`).
        voiced: (T,) steps to lay them over; all steps if none is True.
        grid: the clip's grid.
        end_s, start_s: no word lies outside of these, such as the duration of the clip.
    """
    texts = words_of(transcript)
    if not texts:
        return ()
    steps = voiced if voiced.any() else np.ones(grid.num_steps, dtype=bool)
    starts = grid.starts_s[steps]
    ends = np.minimum(starts + 1.0 / grid.rate_hz, end_s)
    starts = np.maximum(starts, start_s)
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not starts.size:
        return ()
    lengths = ends - starts
    laid = np.concatenate([[0.0], np.cumsum(lengths)])  # voiced time at each step's start, then the total
    costs = np.array([len(text) + 1 for text in texts], dtype=np.float64)
    bounds = np.concatenate([[0.0], np.cumsum(costs)]) / costs.sum() * laid[-1]
    words = []
    for text, begin, end in zip(texts, bounds[:-1], bounds[1:], strict=True):
        parts = _parts(begin, end, laid, starts)
        start_s, end_s = max(parts, key=lambda part: part[1] - part[0])
        words.append(Word(text=text, start_s=start_s, end_s=end_s))
    return tuple(words)


def _parts(
    begin: float, end: float, laid: NDArray[np.float64], starts: NDArray[np.float64]
) -> list[tuple[float, float]]:
    """The real times of `[begin, end)` of the voiced time, one span per unbroken run of steps."""
    first = int(np.clip(np.searchsorted(laid, begin, side="right") - 1, 0, starts.size - 1))
    last = int(np.clip(np.searchsorted(laid, end, side="left") - 1, first, starts.size - 1))
    parts: list[tuple[float, float]] = []
    for step in range(first, last + 1):
        start_s = float(starts[step] + max(begin - laid[step], 0.0))
        end_s = float(starts[step] + min(end, laid[step + 1]) - laid[step])
        if parts and start_s - parts[-1][1] < BREAK_S:
            parts[-1] = (parts[-1][0], end_s)
        else:
            parts.append((start_s, end_s))
    return parts


def text_mask(words: Sequence[Word], grid: Grid) -> NDArray[np.bool_]:
    """(T,) True in every step that a word overlaps."""
    mask = np.zeros(grid.num_steps, dtype=bool)
    for word in words:
        mask[grid.overlap(word.start_s, word.end_s)] = True
    return mask
