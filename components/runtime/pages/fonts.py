"""Fonts for the names in pictures: one that matplotlib brings, then, glyph by glyph, those of the machine for scripts
that it lacks."""

from __future__ import annotations

import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

# It comes with matplotlib, so a picture has the same bytes on every machine as long as it has the characters.
FIRST = "DejaVu Sans"
# Chinese, Japanese, Korean and Indian scripts, and Thai: what Linux, macOS and Windows have.
OTHERS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR"),
    *("Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAGothic", "NanumGothic"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI"),
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai"),
)
_MISSING = re.compile(r"Glyph (\d+) .* missing from font")
_said: set[str] = set()


@cache
def families() -> list[str]:
    """The families that are here, as `font.family` takes them; matplotlib warns of those that are not."""
    from matplotlib import font_manager

    _add_new()
    here = {font.name for font in font_manager.fontManager.ttflist}
    return [FIRST, *(name for name in OTHERS if name in here)]


def _add_new() -> None:
    """Fonts that were installed after matplotlib wrote its list of them, which it never looks through again."""
    from matplotlib import font_manager

    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - listed):
        with suppress(Exception):  # a font that it cannot read, which it leaves out of its list too
            font_manager.fontManager.addfont(path)


@contextmanager
def missing_glyphs_said() -> Iterator[None]:
    """Says once per process and character, on standard error, which characters no font here has, in place of
    matplotlib's line for each of them; a picture shows boxes there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing: set[str] = set()
    for warning in caught:
        if glyph := _MISSING.match(str(warning.message)):
            missing.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if new := sorted(missing - _said):
        _said.update(new)
        print(
            f"pictures: no font here has {' '.join(new)}, so they are boxes; "
            "install one that has: Noto Sans CJK for Chinese, Japanese and Korean, Noto Sans of the script for others",
            file=sys.stderr,
        )


def letters(text: str) -> int:
    """The width of a text in Latin letters: a Chinese, Japanese or Korean character is as wide as two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
