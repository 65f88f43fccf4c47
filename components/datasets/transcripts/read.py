"""A transcript of any known format: its text, and its words or lines with their times where it has any.

    SubRip, WebVTT      lines (`subtitles.py`)
    Praat's TextGrid    words or lines (`textgrid.py`)
    JSON                of the usual recognisers, words or lines (`recognisers.py`)
    plain text          words without times

The content decides, not a name. What is none of these is refused: its counters, tags or keys would become words.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.contracts.records import Word
from components.datasets.transcripts import recognisers, subtitles, textgrid
from components.datasets.transcripts.spoken import Spoken

MAX_BYTES = 16 << 20  # a recogniser's JSON takes some 300 bytes per word: several hours of speech
FORMATS = "plain text, SubRip, WebVTT, TextGrid, or the JSON of a speech recogniser"
SHOWN = 60

BYTE_ORDER_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f]")
# How texts begin that are not words, and what such a text is.
OTHER_FORMATS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s*<(?:\?xml|!doctype|html|tt|sami|transcript|annotation)\b", re.IGNORECASE), "XML or HTML"),
    (re.compile(r"\s*\{\\rtf"), "RTF"),
    (re.compile(r"\s*%PDF-"), "PDF"),
    (re.compile(r"\s*\[Script Info\]", re.IGNORECASE), "SubStation Alpha subtitles"),
    (re.compile(r"\s*\{\d+\}\{\d+\}"), "MicroDVD subtitles"),
    (re.compile(r"\s*(?:\[[a-z]+:[^\]\n]*\]\s*)*\[\d+:\d\d[.:]\d+\]", re.IGNORECASE), "LRC lyrics"),
    (re.compile(r"\s*\d+:\d\d:\d\d[.,]\d+,\d+:\d\d:\d\d[.,]\d+\s"), "SubViewer subtitles"),
    (re.compile(r"\s*-----BEGIN |\s*version https://git-lfs"), "not a transcript"),
)


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What is said, and, where the format has times, its words or lines: a `Word` of several words is a line, whose
    words are somewhere in its time."""

    text: str
    words: tuple[Word, ...] = ()


def read_transcript(path: Path, *, where: str | None = None) -> Transcript:
    """The transcript in a file.

    Args:
        path: the file.
        where: how messages name it, by default by its name.

    Raises:
        DataError: `missing-file`, `too-large`; or `bad-text`, it is not a transcript of a known format.
    """
    where = where or path.name
    return parse_transcript(read_text(path, where=where), where=where)


def read_text(path: Path, *, where: str) -> str:
    """The text of a file, which may have at most `MAX_BYTES`. Raises as `read_transcript`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError("cannot read the transcript", where=where, seen=reason, code=Code.MISSING_FILE) from error
    return decoded(data, where=where)


def decoded(data: bytes, *, where: str) -> str:
    """Bytes as text, without a byte order mark: UTF-8, or what the mark says.

    Raises:
        DataError: `too-large`; or `bad-text`, these bytes are not text.
    """
    if len(data) > MAX_BYTES:
        limit = f"at most {MAX_BYTES >> 20} MiB"
        raise DataError("the transcript is too large", where=where, allowed=limit, code=Code.TOO_LARGE)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _refused("this is not text in UTF-8", where, f"bytes {data[:4].hex(' ')}") from error
    return text.replace("\ufeff", "")


def parse_transcript(text: str, *, where: str) -> Transcript:
    """The transcript that a text holds, in whichever format it is.

    Raises:
        DataError: `bad-text`, it is none of the known formats, or a damaged one.
    """
    text = text.replace("\ufeff", "")
    if CONTROL.search(text):
        raise _refused("the transcript holds bytes that are not text", where, text.strip()[:SHOWN])
    other = next((kind for pattern, kind in OTHER_FORMATS if pattern.match(text)), None)
    if other is not None:
        raise _refused(f"the transcript is {other}", where, text.strip()[:SHOWN])
    for fits, parse in PARSERS:
        if not fits(text):
            continue
        try:
            spoken = parse(text)
        except ValueError as error:
            raise _refused(str(error), where, text.strip()[:SHOWN]) from error
        if not is_text(spoken.text) or not all(is_text(word.text) for word in spoken.timed):
            raise _refused("the transcript holds characters that are not text", where, ascii(text.strip()[:SHOWN]))
        timed = tuple(sorted(spoken.timed, key=lambda word: (word.start_s, word.end_s)))
        return Transcript(text=spoken.text or " ".join(word.text for word in timed), words=timed)
    return Transcript(text=text.strip())


# Whether a text is of a format, by its first characters or lines, and what reads it; a ValueError means it is damaged.
PARSERS: tuple[tuple[Callable[[str], bool], Callable[[str], Spoken]], ...] = (
    (textgrid.fits, textgrid.parse),
    (subtitles.fits, subtitles.parse),
    (recognisers.fits, recognisers.parse),
)


def is_text(text: str) -> bool:
    """False with half of a pair of surrogates, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(what: str, where: str, seen: str) -> DataError:
    return DataError(
        what,
        where=where,
        seen=seen,
        allowed=FORMATS,
        remedy="Save the transcript in one of these formats, as UTF-8",
        code=Code.BAD_TEXT,
    )
