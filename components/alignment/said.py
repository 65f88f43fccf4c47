"""What is said in a single clip, as it was sent with it: a transcript, or words with their times; and how much of it a
clip can hold.

Text costs by its length, not by the clip's: a megabyte of words would keep a text encoder busy for minutes. So a clip
may have no more text than anyone speaks in its time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.contracts.records import AlignedClip, Word
from components.datasets.transcripts.read import is_text, parse_transcript, read_text

# Fast speech is six words, or 40 characters, per second, and the fastest on record about twice that.
CHARACTERS_PER_S = 100.0
FREE_CHARACTERS = 2000  # for a photograph or a short clip with a caption
SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Said:
    """The words of one clip: `words` where they have times; `text` is all of it."""

    text: str = ""
    words: tuple[Word, ...] = ()


def read_said(transcript: str | Path | None, words: Path | None, *, max_duration_s: float) -> Said:
    """What was sent with a clip. The words with times of `words` go before those of `transcript`.

    Args:
        transcript: in any format of `datasets.transcripts`, or the file that holds it.
        words: a file, as for `parse_words`.
        max_duration_s: of the longest clip.

    Raises:
        DataError: `bad-text`, `bad-words`; `too-long`, more than can be said in the longest clip.
    """
    text = read_text(transcript, where="transcript") if isinstance(transcript, Path) else transcript or ""
    spoken = parse_transcript(text, where="transcript")
    timed = read_text(words, where="words") if words is not None else ""
    given = parse_words(timed) if timed.strip() else spoken.words
    check_amount([spoken.text, *(word.text for word in given)], max_duration_s, where="transcript")
    return Said(text=spoken.text or " ".join(word.text for word in given), words=given)


def check_words(aligned: AlignedClip) -> None:
    """Raises DataError (`too-long`) where the words of an aligned clip are more than can be said in its time."""
    check_amount((word.text for word in aligned.words), aligned.quality.duration_s, where=aligned.clip_id)


def check_amount(texts: Iterable[str], duration_s: float, *, where: str) -> None:
    """Raises DataError (`too-long`) where texts have more characters than can be said in a time."""
    characters = sum(map(len, texts))
    allowed = FREE_CHARACTERS + round(CHARACTERS_PER_S * duration_s)
    if characters > allowed:
        raise DataError(
            "more words than can be said in the clip",
            where=where,
            seen=f"{characters} characters",
            allowed=f"at most {allowed} in {duration_s:.1f} s",
            remedy="Send the words of this clip alone",
            code=Code.TOO_LONG,
        )


def parse_words(text: str) -> tuple[Word, ...]:
    """Word times from JSON ``[{"text": …, "start_s": …, "end_s": …}, …]``.

    Raises:
        DataError: not such a list, a span that ends before it starts, or words out of order; code `bad-words`.
    """

    def bad(what: str, seen: object) -> DataError:
        return DataError(
            what,
            where="words",
            seen=ascii(seen)[:SHOWN] if isinstance(seen, str) and not is_text(seen) else str(seen)[:SHOWN],
            allowed='[{"text": "well", "start_s": 0.2, "end_s": 0.5}, …] in order of time',
            code=Code.BAD_WORDS,
        )

    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad("the words are not JSON", error) from error
    if not isinstance(rows, list):
        raise bad("the words must be a list", type(rows).__name__)
    words: list[Word] = []
    for row in rows:
        try:
            word = Word(text=str(row["text"]), start_s=float(row["start_s"]), end_s=float(row["end_s"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise bad("a word lacks text, start_s or end_s", row) from error
        if not is_text(word.text):
            raise bad("a word is not text", word.text)
        if not 0 <= word.start_s <= word.end_s < float("inf"):
            raise bad("a word must start at 0 or later and end after it starts", row)
        if words and word.start_s < words[-1].start_s:
            raise bad("the words are not in order of time", row)
        words.append(word)
    return tuple(words)
