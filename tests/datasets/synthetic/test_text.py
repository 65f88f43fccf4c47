from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from components.datasets.synthetic.signs import SIGNS
from components.datasets.synthetic.text import TEMPLATES, place_words, sentence, syllables


def test_there_are_sentences_for_every_sign() -> None:
    assert set(TEMPLATES) == {signs.text for signs in SIGNS.values()} | {"plain"}
    assert len({line for lines in TEMPLATES.values() for line in lines}) == sum(map(len, TEMPLATES.values()))


def test_slots_are_filled_and_the_template_is_named() -> None:
    rng = np.random.default_rng(0)
    drawn = [sentence("alarm", rng) for _ in range(200)]
    assert not any("{" in one.text for one in drawn)
    assert {one.text_id for one in drawn} == {f"alarm-{number}" for number in range(len(TEMPLATES["alarm"]))}
    assert len({one.text for one in drawn}) > 20


@pytest.mark.parametrize(("word", "count"), [("the", 1), ("kitchen", 2), ("leave", 1), ("table", 2), ("amazing", 3)])
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count


def test_words_follow_each_other_and_are_hurried_only_when_time_is_short() -> None:
    text = "the form has two pages"
    placed = place_words(text, start_s=1.0, end_s=9.0, syllables_per_s=4.0, rng=np.random.default_rng(1))
    assert " ".join(word.text for word in placed) == text
    assert placed[0].start_s == 1.0
    assert all(left.end_s == right.start_s for left, right in pairwise(placed))
    assert placed[-1].end_s == pytest.approx(2.5, abs=0.4)
    hurried = place_words(text, start_s=1.0, end_s=1.8, syllables_per_s=4.0, rng=np.random.default_rng(1))
    assert hurried[-1].end_s == pytest.approx(1.8, abs=1e-3)
