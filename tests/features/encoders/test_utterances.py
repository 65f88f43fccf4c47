from __future__ import annotations

import numpy as np
import pytest

from components.contracts.records import Word
from components.features.encoders.utterances import MAX_WORDS, on_grid, utterances, word_means, word_of_offsets
from tests.builders import make_aligned_clip


def words(*items: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text=text, start_s=start, end_s=end) for text, start, end in items)


def test_a_sentence_ends_an_utterance() -> None:
    spoken = utterances(
        words(("Oh", 0, 0.2), ("no!", 0.2, 0.5), ("It", 0.6, 0.7), ("broke.”", 0.7, 1), ("So", 1.1, 1.2))
    )
    assert [utterance.text for utterance in spoken] == ["Oh no!", "It broke.”", "So"]


def test_a_pause_ends_an_utterance_and_order_is_by_time() -> None:
    spoken = utterances(words(("later", 2.0, 2.3), ("first", 0.0, 0.4), ("  ", 0.5, 0.6), ("then", 0.6, 0.9)))
    assert [utterance.text for utterance in spoken] == ["first then", "later"]


def test_an_utterance_is_bounded() -> None:
    spoken = utterances([Word(text="a", start_s=i / 10, end_s=i / 10 + 0.1) for i in range(MAX_WORDS + 5)])
    assert [len(utterance.words) for utterance in spoken] == [MAX_WORDS, 5]
    assert utterances([]) == []


def test_steps_hold_word_and_utterance() -> None:
    spoken = utterances(words(("yes", 0.0, 0.2), ("never", 0.4, 0.6)))
    vectors = [np.array([[2.0, 0.0], [0.0, 2.0]], np.float32)]
    clip = make_aligned_clip(steps=8, masks={"text": np.ones(8, bool)})
    encoded = on_grid(clip, spoken, vectors, np.array([[1.0, 1.0]], np.float32))
    assert encoded.valid.tolist() == [True] * 6 + [False] * 2
    np.testing.assert_allclose(encoded.values[:2], [[1.5, 0.5]] * 2)
    np.testing.assert_allclose(encoded.values[2:4], [[1.0, 1.0]] * 2)
    np.testing.assert_allclose(encoded.values[4:6], [[0.5, 1.5]] * 2)
    np.testing.assert_allclose(encoded.values[:6].mean(axis=0), [1.0, 1.0])


def test_two_words_in_a_step_count_by_their_seconds() -> None:
    spoken = utterances(words(("a", 0.0, 0.075), ("b", 0.075, 0.1)))
    clip = make_aligned_clip(steps=1, masks={"text": np.ones(1, bool)})
    encoded = on_grid(clip, spoken, [np.array([[4.0], [0.0]], np.float32)], np.array([[0.0]], np.float32))
    assert encoded.values[0, 0] == pytest.approx(0.5 * 3.0)


def test_a_word_without_length_and_one_past_the_end() -> None:
    spoken = utterances(words(("now", 0.25, 0.25), ("gone", 0.5, 9.0)))
    clip = make_aligned_clip(steps=4, masks={"text": np.ones(4, bool)})
    encoded = on_grid(clip, spoken, [np.ones((2, 1), np.float32)], np.ones((1, 1), np.float32))
    assert encoded.valid.tolist() == [False, False, True, True]
    assert np.isfinite(encoded.values).all()


def test_the_text_mask_wins() -> None:
    spoken = utterances(words(("yes", 0.0, 0.4)))
    clip = make_aligned_clip(steps=4, masks={"text": np.array([1, 0, 1, 1], bool)})
    encoded = on_grid(clip, spoken, [np.ones((1, 1), np.float32)], np.ones((1, 1), np.float32))
    assert encoded.valid.tolist() == [True, False, True, True]


def test_tokens_find_their_words() -> None:
    (spoken,) = utterances(words(("don't", 0, 0.2), ("go", 0.2, 0.4)))
    # [CLS] don ' t go [SEP]; and a tokenizer that counts the space as the token's.
    offsets = np.array([[0, 0], [0, 3], [3, 4], [4, 5], [6, 8], [0, 0]])
    assert word_of_offsets(spoken, offsets).tolist() == [-1, 0, 0, 0, 1, -1]
    assert word_of_offsets(spoken, np.array([[0, 5], [5, 8]])).tolist() == [0, 1]


def test_scripts_without_blanks_are_joined_as_they_are_written() -> None:
    (spoken,) = utterances(words(("我们", 0, 0.2), ("真的", 0.2, 0.4), ("very", 0.4, 0.5), ("happy", 0.5, 0.6)))
    assert spoken.text == "我们真的 very happy"
    offsets = np.array([[0, 1], [1, 2], [2, 4], [5, 9], [10, 15]])
    assert word_of_offsets(spoken, offsets).tolist() == [0, 0, 1, 2, 3]


def test_a_word_without_tokens_has_the_mean() -> None:
    hidden = np.array([[1.0], [3.0]], np.float32)
    assert word_means(hidden, np.array([0, 0]), 2).tolist() == [[2.0], [2.0]]
    assert word_means(hidden, np.array([1, 0]), 2).tolist() == [[3.0], [1.0]]
