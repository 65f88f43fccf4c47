"""Words on the clip's clock: given times are kept, a transcript without times is spread over the speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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


def spread(transcript: str, voiced: NDArray[np.bool_], grid: Grid, duration_s: float) -> tuple[Word, ...]:
    """Lays a transcript over the voiced steps, each word as long as its share of the letters.

    A word counts its letters plus one for the pause behind it. Words are laid along the voiced time as if it were
    continuous; of a word that a pause cuts in two, the longer part is kept, so that no word contains the pause.

    Args:
        transcript: the words, separated by white space.
        voiced: (T,) steps to lay them over; all steps if none is True.
        grid: the clip's grid.
        duration_s: of the clip.
    """
    texts = transcript.split()
    if not texts:
        return ()
    steps = voiced if voiced.any() else np.ones(grid.num_steps, dtype=bool)
    starts = grid.starts_s[steps]
    ends = np.minimum(starts + 1.0 / grid.rate_hz, duration_s)
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
