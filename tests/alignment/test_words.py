from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from components.alignment.words import by_word, placed, spread, text_mask
from components.contracts.records import Word
from components.contracts.timebase import Grid

GRID = Grid(rate_hz=10.0, num_steps=40)


def voiced(*spans: tuple[float, float]) -> np.ndarray:
    mask = np.zeros(GRID.num_steps, dtype=bool)
    for start_s, end_s in spans:
        mask[GRID.overlap(start_s, end_s)] = True
    return mask


def test_given_words_are_kept_sorted_and_cut_to_the_clip() -> None:
    given = (
        Word(text="b", start_s=1.0, end_s=1.5),
        Word(text="a", start_s=-0.2, end_s=0.3),
        Word(text="c", start_s=3.9, end_s=4.4),
        Word(text="late", start_s=5.0, end_s=6.0),
        Word(text="point", start_s=2.0, end_s=2.0),
        Word(text=" ", start_s=2.0, end_s=2.5),
    )
    kept = placed(given, 4.0)
    assert [(word.text, word.start_s, word.end_s) for word in kept] == [
        ("a", 0.0, 0.3),
        ("b", 1.0, 1.5),
        ("c", 3.9, 4.0),
    ]


def test_a_transcript_lies_on_the_speech_in_proportion_to_its_letters() -> None:
    words = spread("abc abcdefg", voiced((1.0, 2.2)), GRID, 4.0)
    assert [word.text for word in words] == ["abc", "abcdefg"]
    assert (words[0].start_s, words[0].end_s) == pytest.approx((1.0, 1.4))
    assert (words[1].start_s, words[1].end_s) == pytest.approx((1.4, 2.2))


def test_a_pause_belongs_to_no_word() -> None:
    words = spread("one two three four", voiced((0.5, 1.0), (3.0, 3.7)), GRID, 4.0)
    assert [word.text for word in words] == ["one", "two", "three", "four"]
    for word in words:
        assert 0.5 - 1e-9 <= word.start_s < word.end_s <= 3.7 + 1e-9
        assert word.end_s <= 1.0 + 1e-9 or word.start_s >= 3.0 - 1e-9
    assert not text_mask(words, GRID)[11:30].any()
    starts = [word.start_s for word in words]
    assert starts == sorted(starts)


def test_without_speech_the_whole_clip_is_used() -> None:
    words = spread("a b", voiced(), GRID, 4.0)
    assert (words[0].start_s, words[-1].end_s) == pytest.approx((0.0, 4.0))


def test_the_last_step_ends_with_the_clip() -> None:
    assert spread("a", voiced((3.0, 4.0)), GRID, 3.95)[-1].end_s == pytest.approx(3.95)


def test_more_words_than_steps() -> None:
    words = spread(" ".join("abcdefgh" * 5), voiced((2.0, 2.1)), GRID, 4.0)
    assert len(words) == 40
    assert all(word.start_s < word.end_s for word in words)
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(words))


def test_the_words_of_a_line_lie_on_the_speech_within_its_time() -> None:
    lines = (Word(text="one two", start_s=0.55, end_s=2.0), Word(text="three", start_s=2.0, end_s=2.1))
    words, count = by_word(lines, voiced((0.2, 0.9), (1.5, 1.9)), GRID)
    assert count == 1
    assert [word.text for word in words] == ["one", "two", "three"]
    assert (words[0].start_s, words[1].end_s) == pytest.approx((0.55, 1.9))
    assert not text_mask(words[:2], GRID)[9:15].any()
    assert words[2] == lines[1]


def test_a_line_in_silence_lies_over_its_time() -> None:
    words, _ = by_word((Word(text="a b", start_s=0.33, end_s=0.37),), voiced((2.0, 3.0)), GRID)
    assert [(word.start_s, word.end_s) for word in words] == [pytest.approx((0.33, 0.35)), pytest.approx((0.35, 0.37))]


def test_words_alone_are_no_lines() -> None:
    given = (Word(text="b", start_s=1.0, end_s=1.5), Word(text="don't", start_s=1.2, end_s=1.3))
    assert by_word(given, voiced((0, 4)), GRID) == (given, 0)


@pytest.mark.parametrize(
    "text",
    ["我们真的赢了,我不敢相信", "私たちは本当に勝った", "ฉันไม่อยากจะเชื่อเลยว่าเราชนะ", "ខ្ញុំមិនអាចជឿបាន"],
)
def test_a_text_without_blanks_lies_over_every_stretch_of_speech(text: str) -> None:
    spans = ((0.5, 1.2), (1.8, 2.2), (2.9, 3.7))
    words = spread(text, voiced(*spans), GRID, 4.0)
    assert "".join(word.text for word in words) == text
    mask = text_mask(words, GRID)
    for start_s, end_s in spans:
        assert mask[GRID.overlap(start_s, end_s)].mean() > 0.7


def test_empty_transcripts() -> None:
    assert spread("", voiced((0, 1)), GRID, 4.0) == ()
    assert spread(" \n", voiced((0, 1)), GRID, 4.0) == ()


def test_the_mask_covers_every_step_a_word_touches() -> None:
    mask = text_mask([Word(text="a", start_s=0.25, end_s=0.41), Word(text="b", start_s=1.0, end_s=1.1)], GRID)
    assert np.nonzero(mask)[0].tolist() == [2, 3, 4, 10]
