"""The words of a text in any language.

Blanks separate words in most scripts. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan write without: there a
sentence would be one word, laid over one stretch of speech. In these scripts the word boundaries of ICU are used (UAX
29, with dictionaries).
"""

from __future__ import annotations

import re

# Scripts without blanks between words; Korean has them.
WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]"
)
ANY_LANGUAGE = "und"  # the dictionaries go by script


def words_of(text: str) -> list[str]:
    """The words in order, each with the punctuation at it."""
    words: list[str] = []
    for token in text.split():
        words += _segments(token) if WITHOUT_BLANKS.search(token) else [token]
    return words


def written_together(before: str, after: str) -> bool:
    """Whether no blank is written between two words of a text: both are of scripts without blanks, where they meet."""
    last = next((sign for sign in reversed(before) if sign.isalnum()), "")
    first = next((sign for sign in after if sign.isalnum()), "")
    return bool(WITHOUT_BLANKS.match(last) and WITHOUT_BLANKS.match(first))


def _segments(token: str) -> list[str]:
    """The words of a text without blanks; what holds no letter or digit belongs to the word before, or to the first."""
    from icu4py.breakers import WordBreaker  # loads its dictionaries, which most texts do not need

    words: list[str] = []
    opening = ""
    for part in WordBreaker(token, ANY_LANGUAGE):
        if any(sign.isalnum() for sign in part):
            words.append(opening + part)
            opening = ""
        elif words:
            words[-1] += part
        else:
            opening += part
    return words or [token]
