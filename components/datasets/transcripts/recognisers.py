"""The JSON of speech recognisers: words with their times, else segments with theirs.

    Whisper, faster-whisper, WhisperX, OpenAI    segments[].words[], segments[], words[], word_segments[]
    whisper.cpp                                  transcription[].offsets
    transformers                                 chunks[].timestamp
    Vosk, Kaldi                                  result[], one object or one per line
    Deepgram                                     results.channels[].alternatives[0].words[]
    AWS Transcribe                               results.items[]
    Google Speech-to-Text                        results[].alternatives[0].words[]
    Azure Speech      recognizedPhrases[].nBest[0].words[], phrases[].words[], NBest[0].Words[]
    AssemblyAI, ElevenLabs, Rev AI               words[], monologues[].elements[]
    the service's own form                       [{"text", "start_s", "end_s"}, …]

Each entry is read by what it calls its text and its times, so versions of one recogniser need no care of their own. A
word without times (WhisperX cannot place digits) lies between its neighbours, in a line with others like it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.contracts.records import Word
from components.datasets.transcripts.spoken import Spoken, word_at

Entry = Mapping[str, Any]

TEXT_KEYS = (
    "punctuated_word",
    "displayText",
    "display",
    "Display",
    "word",
    "Word",
    "text",
    "value",
    "content",
    "transcript",
)
# (start, end or None, duration or None, seconds per unit of a plain number)
TIME_KEYS: tuple[tuple[str, str | None, str | None, float], ...] = (
    ("start_s", "end_s", None, 1.0),
    ("start", "end", None, 1.0),
    ("start_time", "end_time", None, 1.0),
    ("startTime", "endTime", None, 1.0),
    ("startOffset", "endOffset", None, 1.0),
    ("start_offset", "end_offset", None, 1.0),
    ("ts", "end_ts", None, 1.0),
    ("from", "to", None, 1e-3),
    ("offsetMilliseconds", None, "durationMilliseconds", 1e-3),
    ("offsetInTicks", None, "durationInTicks", 1e-7),
    ("Offset", None, "Duration", 1e-7),
    ("offset", None, "duration", 1e-7),
)
ISO_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")
MILLISECONDS = ("audio_url", "acoustic_model", "language_model")  # AssemblyAI counts in these
PUNCTUATION = frozenset({"punctuation", "punct"})
NOT_WORDS = PUNCTUATION | {"spacing", "audio_event"}
OBJECT = re.compile(r'\s*\{\s*["}]')
KNOWN = "Whisper, WhisperX, whisper.cpp, transformers, Vosk, Deepgram, AWS, Google, Azure and the like"


def fits(text: str) -> bool:
    """Whether a text is JSON, or JSON by lines; a text in brackets need not be."""
    return bool(OBJECT.match(text)) or (text.lstrip()[:1] == "[" and _document(text) is not None)


def parse(text: str) -> Spoken:
    """The words or lines with their times, and the text. Raises ValueError: it is damaged JSON, or of no known form."""
    document = _document(text)
    if document is None:
        raise ValueError("the transcript begins like JSON but is not")
    try:
        timed, spoken = _read(document)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"this JSON is of none of the known recognisers: {KNOWN}") from error
    if not timed and not spoken.strip():
        raise ValueError(f"this JSON holds no words that a known recogniser would write: {KNOWN}")
    return Spoken(timed=tuple(timed), text=" ".join(spoken.split()))


def _document(text: str) -> Any:
    """The JSON value, a list for JSON by lines, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.split("\n") if line.strip()] or None
    except (ValueError, RecursionError):
        return None


def _read(document: Any) -> tuple[list[Word], str]:
    if isinstance(document, list):
        if all(_shape(part) not in (None, "words") for part in document):  # results of a stream, one by one
            parts = [_read(part) for part in document]
            return [word for words, _ in parts for word in words], " ".join(text for _, text in parts)
        document = {"segments": document}
    shape = _shape(document)
    if shape is None:
        raise KeyError("no list of words")
    scale = 1e-3 if any(key in document for key in MILLISECONDS) else 1.0
    entries = list(SHAPES[shape](document))
    words = _placed(entries, scale=scale)
    return words, "" if words else " ".join(_text(entry) for entry in entries)


def _shape(document: Entry) -> str | None:
    """The first key of `SHAPES` that leads to a list or object in a document."""
    return next((key for key in SHAPES if isinstance(document.get(key), list | dict)), None)


def _placed(entries: Iterable[Entry], *, scale: float = 1.0) -> list[Word]:
    """The entries as words; those without times between their neighbours."""
    placed: list[Word] = []
    waiting: list[str] = []
    for entry in entries:
        text = _text(entry)
        kind = str(entry.get("type", "")).lower()
        if kind in NOT_WORDS:
            if kind in PUNCTUATION and placed and not waiting and text.strip():
                last = placed.pop()
                placed.append(Word(text=last.text + text.strip(), start_s=last.start_s, end_s=last.end_s))
            continue
        times = _times(entry)
        word = None if times is None else word_at(text, times[0] * scale, times[1] * scale)
        if word is None:
            waiting += [text] if text.strip() else []
            continue
        placed += _between(waiting, placed[-1].end_s if placed else 0.0, word.start_s)
        waiting = []
        placed.append(word)
    if placed:
        placed += _between(waiting, placed[-1].end_s, placed[-1].end_s + len(waiting))
    return placed


def _between(texts: Sequence[str], start_s: float, end_s: float) -> list[Word]:
    word = word_at(" ".join(texts), start_s, end_s)
    return [] if word is None else [word]


def _text(entry: Entry) -> str:
    if isinstance(entry.get("alternatives"), list):  # AWS
        entry = {**entry, **entry["alternatives"][0]}
    return next((str(entry[key]) for key in TEXT_KEYS if isinstance(entry.get(key), str | int | float)), "")


def _times(entry: Entry) -> tuple[float, float] | None:
    """Start and end in seconds, or None where an entry has none."""
    if isinstance(entry.get("timestamp"), list):  # transformers; the last end may be missing
        start, end = entry["timestamp"]
        return None if start is None else (float(start), float(start if end is None else end))
    if isinstance(entry.get("offsets"), dict):  # whisper.cpp
        entry = entry["offsets"]
    for start_key, end_key, duration_key, unit in TIME_KEYS:
        if entry.get(start_key) is None:
            continue
        start_s = _seconds(entry[start_key], unit)
        if end_key is not None and entry.get(end_key) is not None:
            return start_s, _seconds(entry[end_key], unit)
        if duration_key is not None and entry.get(duration_key) is not None:
            return start_s, start_s + _seconds(entry[duration_key], unit)
    return None


def _seconds(value: Any, unit: float) -> float:
    """A time as a number of units, a text such as 1.3, 1.3s or PT1.3S, or as an object of seconds and nanoseconds."""
    if isinstance(value, dict):
        return float(value.get("seconds", 0)) + float(value.get("nanos", 0)) * 1e-9
    if isinstance(value, str):
        duration = ISO_DURATION.fullmatch(value)
        if duration:
            hours, minutes, seconds = (float(part or 0) for part in duration.groups())
            return 3600 * hours + 60 * minutes + seconds
        return float(value.removesuffix("s"))
    return float(value) * unit


def _segments(document: Entry) -> Iterator[Entry]:
    """Segments by their words where these have times, else as they are; without segments, the words alone."""
    segments = document.get("segments") or []
    alone = document.get("words") or document.get("word_segments") or []
    if alone and not any(segment.get("words") for segment in segments):
        yield from alone
        return
    for segment in segments:
        words = segment.get("words") or []
        yield from words if any(_times(word) for word in words) else [segment]


def _results(document: Entry) -> Iterator[Entry]:
    """Deepgram, AWS and Google, all of which call it results."""
    results = document["results"]
    if isinstance(results, dict):
        yield from results["items"] if "items" in results else _channels(results["channels"])
        return
    best = [result["alternatives"][0] for result in results if result.get("alternatives")]
    if any("speakerTag" in word or "speaker_tag" in word for words in best for word in words.get("words", ())):
        best = best[-1:]  # with speakers, the last result repeats all words
    for alternative in best:
        yield from alternative.get("words") or [alternative]


def _channels(channels: Sequence[Entry]) -> Iterator[Entry]:
    """The words of all channels in order of time; of channels that hold the same, once."""
    entries = [word for channel in channels for word in channel["alternatives"][0].get("words") or ()]
    unique = {(_text(word), _times(word)): word for word in entries}
    yield from sorted(unique.values(), key=lambda word: _times(word) or (0.0, 0.0))


def _phrases(key: str) -> Callable[[Entry], Iterator[Entry]]:
    """Azure: phrases by the words of their best reading where these have times, else as they are."""

    def entries(document: Entry) -> Iterator[Entry]:
        for phrase in document[key]:
            yield from _best(phrase)

    return entries


def _best(phrase: Entry) -> Sequence[Entry]:
    best = next(iter(phrase.get("nBest") or phrase.get("NBest") or []), phrase)
    words = best.get("words") or best.get("Words") or []
    return words if any(_times(word) for word in words) else [{**phrase, **best}]


def _monologues(document: Entry) -> Iterator[Entry]:
    for monologue in document["monologues"]:
        yield from monologue["elements"]


# The key by which a document is known → its entries in order.
SHAPES: Mapping[str, Callable[[Entry], Iterable[Entry]]] = {
    "segments": _segments,
    "word_segments": _segments,
    "transcription": lambda document: document["transcription"],
    "chunks": lambda document: document["chunks"],
    "results": _results,
    "recognizedPhrases": _phrases("recognizedPhrases"),
    "phrases": _phrases("phrases"),
    "NBest": _best,
    "monologues": _monologues,
    "result": lambda document: document["result"],
    "words": lambda document: document["words"],
}
