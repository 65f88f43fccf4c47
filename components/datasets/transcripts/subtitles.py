"""SubRip (.srt) and WebVTT (.vtt, W3C Recommendation candidate of 2019): lines between two times.

    2                                       a counter or name, which is not said
    00:00:05,000 --> 00:00:07,000           WebVTT: a point in place of the comma, hours optional, settings behind it
    I cannot <i>believe</i> it              the line, with tags

Lines may bear times within (`<00:00:05.300>`, as automatic captions have): their parts are words or lines of their own.
Captions that roll up repeat the line before; what is repeated counts once. Notes and styles are not said.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.contracts.records import Word
from components.datasets.transcripts.spoken import Spoken, word_at

TIME = r"(?:\d{1,4}:)?\d{1,2}:\d{1,2}(?:[.,]\d{1,3})?"
CUE = re.compile(rf"\s*({TIME})\s*-->\s*({TIME})(?:\s.*)?")
SIGNATURE = re.compile(r"\s*WEBVTT(?:\s|$)")
NOT_SAID = re.compile(r"(?:NOTE|STYLE|REGION|WEBVTT)(?:\s|$)")
TIME_TAG = re.compile(rf"<({TIME})>")
TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
DASH = re.compile(r"^\s*[-–—>]+\s+")  # before the words of each of two speakers
MUSIC = str.maketrans("", "", "♪♫")
FIRST_LINES = 50
ROLLING_S = 0.1  # captions that roll up follow one another at once, or after an instant of this length


@dataclass(frozen=True, kw_only=True)
class Cue:
    """Lines, as they stand in the file, over `[start_s, end_s)`."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def fits(text: str) -> bool:
    """Whether a text is SubRip or WebVTT."""
    return bool(SIGNATURE.match(text)) or any(CUE.fullmatch(line) for line in text.splitlines()[:FIRST_LINES])


def parse(text: str) -> Spoken:
    """The lines with their times. Raises ValueError: there is not one."""
    timed: list[Word] = []
    before: Cue | None = None
    for cue in cues(text):
        lines = _new_lines(cue, before)
        before = cue
        timed += [word for word in _words(lines, cue) if word is not None]
    if not timed:
        raise ValueError("these subtitles hold no line")
    return Spoken(timed=tuple(timed))


def cues(text: str) -> Iterator[Cue]:
    """The cues in the order of the file."""
    is_webvtt = bool(SIGNATURE.match(text))
    times: tuple[float, float] | None = None
    lines: list[str] = []
    for block in _blocks(text):
        marks = [at for at, line in enumerate(block) if CUE.fullmatch(line)]
        if not marks:
            # A blank line within a cue. A counter alone is none of its lines, nor is a note.
            if not (NOT_SAID.match(block[0]) if is_webvtt else all(line.strip().isdecimal() for line in block)):
                lines += block
            continue
        for number, at in enumerate(marks):
            if times is not None:
                # Without a blank line between two cues, only a counter is surely not said.
                said = block[marks[number - 1] + 1 : at] if number else []
                lines += said[:-1] if said and said[-1].strip().isdecimal() else said
                yield Cue(start_s=times[0], end_s=times[1], lines=tuple(lines))
            match = CUE.fullmatch(block[at])
            times, lines = (seconds(match[1]), seconds(match[2])) if match else None, []
        lines = list(block[marks[-1] + 1 :])
    if times is not None:
        yield Cue(start_s=times[0], end_s=times[1], lines=tuple(lines))


def seconds(time: str) -> float:
    """The seconds of `1:02:03,500`, hours and fraction optional."""
    clock, _, fraction = time.replace(",", ".").partition(".")
    whole = 0
    for part in clock.split(":"):
        whole = 60 * whole + int(part)
    return whole + (int(fraction) / 10 ** len(fraction) if fraction else 0.0)


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines between blank lines."""
    block: list[str] = []
    for line in re.split(r"\r\n|\r|\n", text):
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _new_lines(cue: Cue, before: Cue | None) -> Sequence[str]:
    """The lines of a cue without what rolled up from the one before."""
    follows = before is not None and before.lines and abs(cue.start_s - before.end_s) <= ROLLING_S
    if before is None or not follows:
        return cue.lines
    shown = [_plain(line) for line in before.lines]
    lines = list(cue.lines)
    rolled = len(lines) > 1 or cue.end_s - cue.start_s <= ROLLING_S
    while rolled and lines and _plain(lines[0]) in shown:
        lines.pop(0)
    return lines


def _words(lines: Sequence[str], cue: Cue) -> Iterator[Word | None]:
    """The parts of a cue between the times within it, which is the whole cue where it has none."""
    text = " ".join(DASH.sub("", line.translate(MUSIC)) for line in lines)
    parts = TIME_TAG.split(text)  # text, time, text, time, …, text
    starts = [cue.start_s, *(min(max(seconds(time), cue.start_s), cue.end_s) for time in parts[1::2])]
    ends = [*starts[1:], cue.end_s]
    for part, start_s, end_s in zip(parts[::2], starts, ends, strict=True):
        yield word_at(_plain(part), start_s, end_s)


def _plain(line: str) -> str:
    """A line without tags, its entities as characters."""
    return html.unescape(TAG.sub("", line)).strip()
