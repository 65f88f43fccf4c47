from __future__ import annotations

from pathlib import Path

import pytest

from components.alignment.said import FREE_CHARACTERS, Said, check_amount, parse_words, read_said
from components.contracts.errors import DataError
from components.contracts.records import Word

LONGEST_S = 10.0
LINE = "1\n00:00:00,500 --> 00:00:01,000\nhello there\n"


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "{}",
        '[{"text": "a"}]',
        '[{"text": "a", "start_s": 2, "end_s": 1}]',
        '[{"text": "a", "start_s": -1, "end_s": 1}]',
        '[{"text": "a", "start_s": 0, "end_s": NaN}]',
        '[{"text": "a", "start_s": 2, "end_s": 3}, {"text": "b", "start_s": 0, "end_s": 1}]',
        "[" * 100_000,
        '[{"text": "a", "start_s": 0, "end_s": ' + "9" * 400 + "}]",
        '[{"text": "a", "start_s": 0, "end_s": ' + "9" * 5000 + "}]",
        r'[{"text": "\ud800", "start_s": 0, "end_s": 1}]',
        r'[{"text": "a", "start_s": "\ud800", "end_s": 1}]',
        "[null]",
    ],
)
def test_text_that_is_not_a_list_of_words(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_words(text)
    assert caught.value.code == "bad-words"
    assert str(caught.value).encode()


@pytest.mark.parametrize("in_file", [False, True])
def test_words_with_times_go_before_those_of_the_transcript(tmp_path: Path, in_file: bool) -> None:
    words = tmp_path / "words"
    words.write_text('[{"text": "hi", "start_s": 0, "end_s": 0.5}]')
    (tmp_path / "transcript").write_text(LINE)
    transcript = tmp_path / "transcript" if in_file else LINE
    hi, line = Word(text="hi", start_s=0.0, end_s=0.5), Word(text="hello there", start_s=0.5, end_s=1.0)
    assert read_said(transcript, words, max_duration_s=LONGEST_S) == Said(text="hello there", words=(hi,))
    assert read_said(transcript, None, max_duration_s=LONGEST_S) == Said(text="hello there", words=(line,))
    assert read_said(None, words, max_duration_s=LONGEST_S) == Said(text="hi", words=(hi,))
    assert read_said(" ", None, max_duration_s=LONGEST_S) == Said()


def test_a_clip_can_hold_what_is_said_in_its_time() -> None:
    check_amount(["x" * FREE_CHARACTERS, "y" * 100], 1.0, where="a.mp4")
    with pytest.raises(DataError, match="more words than can be said in the clip") as refused:
        check_amount(["x" * FREE_CHARACTERS, "y" * 101], 1.0, where="a.mp4")
    assert (refused.value.code, refused.value.where) == ("too-long", "a.mp4")
    with pytest.raises(DataError, match="at most 3000 in 10"):
        read_said("word " * 800, None, max_duration_s=LONGEST_S)


def test_a_transcript_of_half_a_character_is_not_text() -> None:
    with pytest.raises(DataError) as refused:
        read_said('{"text": "a \\ud800 b"}', None, max_duration_s=LONGEST_S)
    assert refused.value.code == "bad-text"
    assert str(refused.value).encode()
