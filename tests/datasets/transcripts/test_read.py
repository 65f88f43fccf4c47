"""One sentence in every format that is read, and what must not be read as words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import DataError
from components.datasets.transcripts.read import MAX_BYTES, Transcript, parse_transcript, read_transcript

SRT = "1\n00:00:00,500 --> 00:00:02,000\nwe actually\nwon\n\n2\n00:00:05,000 --> 00:00:07,000\nI can't\n"
VTT = """WEBVTT - talk
Kind: captions

NOTE nobody says
this

STYLE
::cue { color: red }

intro
00:00.500 --> 00:02.000 align:start position:0%
<v Ann>we <i>actually</i></v>
won

00:00:05.000 --> 00:00:07.000
I can&#39;t
"""
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 8
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 8
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 8
            text = "w i:"
    item [2]:
        class = "TextTier"
        name = "bell"
        xmin = 0
        xmax = 8
        points: size = 1
        points [1]:
            number = 1.5
            mark = "ding"
    item [3]:
        class = "IntervalTier"
        name = "utterances"
        xmin = 0
        xmax = 8
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 2.0
            text = "we actually won"
        intervals [3]:
            xmin = 2.0
            xmax = 5.0
            text = "sil"
        intervals [4]:
            xmin = 5.0
            xmax = 7.0
            text = "I can't"
"""
SHORT = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n8\n<exists>\n1\n"IntervalTier"\n"any"\n0\n8\n2\n'
    '0.5\n2\n"we actually won"\n5\n7\n"I can\'t"\n'
)
LINES = [("we actually won", 0.5, 2.0), ("I can't", 5.0, 7.0)]


def segments(**more: Any) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "text": f" {text}", **more} for text, start, end in LINES]


CPP = {
    "transcription": [
        {
            "timestamps": {"from": "00:00:00,500", "to": "00:00:02,000"},
            "offsets": {"from": 1000 * start, "to": 1000 * end},
            "text": f" {text}",
        }
        for text, start, end in LINES
    ]
}
AZURE_LINES = {
    "phrases": [
        {"offsetMilliseconds": 1000 * start, "durationMilliseconds": 1000 * (end - start), "text": text}
        for text, start, end in LINES
    ]
}
TIMED_LINES = {
    "srt": SRT,
    "srt of windows": SRT.replace("\n", "\r\n"),
    "srt of old macs": SRT.replace("\n", "\r"),
    "srt without blank lines": SRT.replace("\n\n", "\n"),
    "srt with tags": SRT.replace("won", r"{\an8}<font color='#fff'>won</font> ♪"),
    "srt with dashes": SRT.replace("we actually", "- we actually"),
    "srt with a blank line in it": SRT.replace("actually\n", "actually\n\n"),
    "vtt": VTT,
    "vtt in disorder": "WEBVTT\n\n00:05.000 --> 00:07.000\nI can't\n\n00:00.500 --> 00:02.000\nwe actually won\n",
    "textgrid, long": LONG,
    "textgrid, short": SHORT,
    "whisper": json.dumps({"text": "…", "segments": segments(id=1, tokens=[1, 2]), "language": "en"}),
    "whisper, list": json.dumps(segments(words=[])),
    "whisper.cpp": json.dumps(CPP),
    "transformers": json.dumps({"chunks": [{"timestamp": [s, e], "text": f" {t}"} for t, s, e in LINES]}),
    "azure, phrases": json.dumps(AZURE_LINES),
}


@pytest.mark.parametrize("kind", TIMED_LINES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_come_with_their_times(tmp_path: Path, kind: str, encoding: str) -> None:
    path = tmp_path / "said"
    path.write_bytes(TIMED_LINES[kind].encode(encoding))
    found = read_transcript(path)
    assert [(word.text, word.start_s, word.end_s) for word in found.words] == [
        (text, pytest.approx(start), pytest.approx(end)) for text, start, end in LINES
    ]
    assert found.text == "we actually won I can't"


WORDS = [("we", 0.5, 0.75), ("won", 1.0, 1.5)]


def plain(text: str = "word", start: str = "start", end: str = "end", unit: float = 1.0) -> list[dict[str, Any]]:
    return [{text: word, start: unit * first, end: unit * last, "confidence": 0.9} for word, first, last in WORDS]


def ticks(text: str, start: str, length: str, unit: float) -> list[dict[str, Any]]:
    return [
        {text: word, start: round(unit * first), length: round(unit * (last - first))} for word, first, last in WORDS
    ]


AWS = [
    {"type": "pronunciation", "start_time": str(start), "end_time": str(end), "alternatives": [{"content": word}]}
    for word, start, end in WORDS
]
GOOGLE = [{"word": word, "startTime": f"{start}s", "endTime": f"{end}s"} for word, start, end in WORDS]
PROTOBUF = [
    {
        "word": word,
        "start_time": {"seconds": 0, "nanos": start * 1e9},
        "end_time": {"seconds": int(end), "nanos": end % 1 * 1e9},
    }
    for word, start, end in WORDS
]
AZURE = [{"word": w, "offset": f"PT{s}S", "duration": f"PT{e - s}S"} for w, s, e in WORDS]
MILLISECONDS = ticks("text", "offsetMilliseconds", "durationMilliseconds", 1e3)
TICKS = ticks("Word", "Offset", "Duration", 1e7)
DEEPGRAM = [{**word, "punctuated_word": word["word"]} for word in plain()]
TIMED_WORDS: dict[str, Any] = {
    "whisper": {"text": "we won", "segments": [{"start": 0, "end": 2, "text": "we won", "words": plain()}]},
    "whisperx": {"segments": [{"start": 0, "end": 2, "text": "x", "words": plain()}], "word_segments": plain()},
    "openai": {"text": "we won", "words": plain(), "segments": [{"start": 0.5, "end": 1.5, "text": "we won"}]},
    "transformers": {"chunks": [{"text": w, "timestamp": [s, e]} for w, s, e in WORDS]},
    "vosk": {"result": plain(), "text": "we won"},
    "vosk, stream": [
        {"result": plain()[:1], "text": "we"},
        {"result": plain()[1:], "text": "won"},
        {"text": "", "result": []},
    ],
    "deepgram": {"results": {"channels": [{"alternatives": [{"transcript": "we won", "words": DEEPGRAM}]}] * 2}},
    "aws": {"results": {"transcripts": [{"transcript": "we won"}], "items": AWS}},
    "google": {"results": [{"alternatives": [{"transcript": "we won", "words": GOOGLE}]}, {"alternatives": []}]},
    "google, protobuf": {"results": [{"alternatives": [{"transcript": "we won", "words": PROTOBUF}]}]},
    "google, speakers": {
        "results": [
            {"alternatives": [{"words": GOOGLE}]},
            {"alternatives": [{"words": [{**word, "speakerTag": 1} for word in GOOGLE]}]},
        ]
    },
    "azure, batch": {"recognizedPhrases": [{"offset": "PT0.5S", "nBest": [{"display": "We won.", "words": AZURE}]}]},
    "azure, fast": {
        "phrases": [{"text": "x", "words": ticks("text", "offsetMilliseconds", "durationMilliseconds", 1e3)}]
    },
    "azure, stream": [{"Offset": 5000000, "Duration": 10000000, "NBest": [{"Display": "We won.", "Words": TICKS}]}],
    "assemblyai": {"audio_url": "x", "text": "we won", "words": plain("text", unit=1000)},
    "elevenlabs": {"text": "we won", "words": [plain("text")[0], {"text": " ", "type": "spacing"}, plain("text")[1]]},
    "rev": {
        "monologues": [{"speaker": 0, "elements": [{"type": "text", **w} for w in plain("value", "ts", "end_ts")]}]
    },
    "own": plain("text", "start_s", "end_s"),
}


@pytest.mark.parametrize("kind", TIMED_WORDS)
def test_words_come_with_their_times(kind: str) -> None:
    found = parse_transcript(json.dumps(TIMED_WORDS[kind], indent=1), where="said")
    assert [(word.text, word.start_s, word.end_s) for word in found.words] == [
        (text, pytest.approx(start), pytest.approx(end)) for text, start, end in WORDS
    ]


def test_json_by_lines_is_read() -> None:
    text = "\n".join(json.dumps(part) for part in TIMED_WORDS["vosk, stream"])
    assert [word.text for word in parse_transcript(text, where="said").words] == ["we", "won"]


def test_punctuation_belongs_to_the_word_before() -> None:
    comma = {"type": "punctuation", "alternatives": [{"content": "!"}]}
    found = parse_transcript(json.dumps({"results": {"items": [comma, *AWS, comma]}}), where="said")
    assert [word.text for word in found.words] == ["we", "won!"]


def test_words_without_times_lie_between_their_neighbours() -> None:
    words = [{"word": "in"}, plain()[0], {"word": "20"}, {"word": "24"}, plain()[1]]
    found = parse_transcript(json.dumps({"segments": [{"start": 0, "end": 2, "text": "x", "words": words}]}), where="s")
    assert [(word.text, word.start_s, word.end_s) for word in found.words] == [
        ("in", 0.0, 0.5),
        ("we", 0.5, 0.75),
        ("20 24", 0.75, 1.0),
        ("won", 1.0, 1.5),
    ]


def test_json_without_times_is_its_text() -> None:
    for document in ({"results": [{"alternatives": [{"transcript": "we won"}]}]}, {"segments": [{"text": " we  won"}]}):
        assert parse_transcript(json.dumps(document), where="said") == Transcript(text="we won")


def test_captions_that_roll_up_are_said_once() -> None:
    text = """WEBVTT

00:00:00.000 --> 00:00:02.000
%
we<00:00:00.500><c> actually</c><00:00:01.000><c> won</c>

00:00:02.000 --> 00:00:02.010
we actually won
%

00:00:02.010 --> 00:00:04.000
we actually won
I<00:00:02.500><c> can't</c>
""".replace("%", " ")
    found = parse_transcript(text, where="said")
    assert [(word.text, word.start_s, word.end_s) for word in found.words] == [
        ("we", 0.0, 0.5),
        ("actually", 0.5, 1.0),
        ("won", 1.0, 2.0),
        ("I", 2.01, 2.5),
        ("can't", 2.5, 4.0),
    ]


def test_who_says_the_same_twice_says_it_twice() -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\nNo.\n\n2\n00:00:01,000 --> 00:00:02,000\nNo.\n"
    assert parse_transcript(text, where="said").text == "No. No."


def test_a_number_may_be_said() -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\n7\n\n2\n00:00:01,000 --> 00:00:02,000\n8\n"
    assert [word.text for word in parse_transcript(text, where="said").words] == ["7", "8"]


@pytest.mark.parametrize(
    "text",
    [
        "we actually won",
        "[laughs] we won",
        "{laughs} we won",
        "at 12:30 we won, 3 --> 2",
        "«On a gagné», l’homme a dit: 5 < 7",
        "我们真的赢了。",
        "نمی‌خواهم باور کنم",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert parse_transcript(f"\ufeff{text}\n", where="said") == Transcript(text=text)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00word/document.xml", "bytes that are not text"),
        (b"\x89PNG\r\n\x1a\n", "not text in UTF-8"),
        ("Müller".encode("latin-1"), "not text in UTF-8"),
        (b"well\x00done", "bytes that are not text"),
        (b"{\\rtf1\\ansi we won}", "RTF"),
        (b"%PDF-1.4 we won", "PDF"),
        (b'<?xml version="1.0"?><tt><p>we won</p></tt>', "XML"),
        (b"<html><body>we won", "HTML"),
        (b"[Script Info]\nTitle: x\n", "SubStation Alpha"),
        (b"{10}{25}we won\n", "MicroDVD"),
        (b"[ar:Ann]\n[00:12.00]we won\n", "LRC"),
        (b"0:00:00.500,0:00:02.000\nwe won\n", "SubViewer"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a transcript"),
        (b'{"segments": [', "begins like JSON"),
        (b'{"weather": "fine"}', "none of the known recognisers"),
        (b'{"words": [1, 2]}', "none of the known recognisers"),
        (b'{"segments": []}', "holds no words"),
        (b'{"result": [{"word": "we", "start": "soon", "end": "late"}]}', "none of the known recognisers"),
        (b"WEBVTT\n\nNOTE nothing\n", "hold no line"),
        (LONG[:400].encode(), "cut off or damaged"),
        (LONG.replace("utterances", "b").encode(), "which tier"),
        (LONG.replace('"TextGrid"', '"Pitch 1"').encode(), "a Pitch 1, not a TextGrid"),
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "said.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read_transcript(path)
    assert caught.value.code == "bad-text"
    assert "said.txt" in str(caught.value)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.srt") as caught:
        read_transcript(tmp_path / "gone.srt")
    assert caught.value.code == "missing-file"
    large = tmp_path / "large.txt"
    with large.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match="at most 16 MiB"):
        read_transcript(large)


HOSTILE = [
    "[" * 100_000,
    '{"a":' * 100_000,
    "<" * 200_000,
    '"' * 200_001,
    "ooTextFile",
    "0:" * 100_000 + "-->",
    "1e999 " * 50_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_ends_soon_and_with_a_word(text: str) -> None:
    for begin in ("", "WEBVTT\n\n00:00.000 --> 00:01.000\n", '"ooTextFile"\n"TextGrid" 0 1 <exists> 99999999999 '):
        refusal_or_transcript(begin + text)


def test_damaged_transcripts_are_read_or_refused() -> None:
    rng = random.Random(7)
    texts = [*TIMED_LINES.values(), *(json.dumps(document) for document in TIMED_WORDS.values())]
    signs = '\n "0123456789<>-:,.{}[]\\eE\ufeff\u2028é'
    for _ in range(1500):
        text = rng.choice(texts)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text))
            text = (
                text[:at] + rng.choice([rng.choice(signs), "", rng.choice(texts)[:30]]) + text[at + rng.randint(0, 9) :]
            )
        found = refusal_or_transcript(text)
        assert found is None or all(0 <= word.start_s < word.end_s < float("inf") and word.text for word in found.words)


def refusal_or_transcript(text: str) -> Transcript | None:
    try:
        return parse_transcript(text, where="said")
    except DataError as error:
        return None if error.code == "bad-text" else pytest.fail(str(error))
