from __future__ import annotations

import numpy as np
import pytest

from components.contracts.records import AlignedClip, Word
from components.features.encoders.minilm import MiniLm
from components.features.encoders.utterances import Utterance
from tests.builders import make_aligned_clip


@pytest.fixture(scope="module")
def encoder() -> MiniLm:
    return MiniLm()


def said(text: str, *, start_s: float = 0.0, word_s: float = 0.2) -> AlignedClip:
    words = tuple(
        Word(text=word, start_s=start_s + index * word_s, end_s=start_s + (index + 1) * word_s)
        for index, word in enumerate(text.split())
    )
    steps = 40
    return make_aligned_clip(steps=steps, words=words, masks={"text": np.ones(steps, bool)})


def mean_of(encoder: MiniLm, text: str) -> np.ndarray:
    (encoded,) = encoder.encode([said(text)])
    return np.asarray(encoded.values[encoded.valid].mean(axis=0))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_sentences_of_like_meaning_are_near(encoder: MiniLm) -> None:
    glad, happy, broken = (
        mean_of(encoder, text)
        for text in ("I am so glad you came", "it makes me happy that you are here", "the printer is out of paper")
    )
    assert cosine(glad, happy) > cosine(glad, broken) + 0.2


def test_a_clip_mean_stays_near_the_sentence_embedding(encoder: MiniLm) -> None:
    text = "this was the worst holiday ever"
    assert cosine(mean_of(encoder, text), encoder.sentences([text])[0]) > 0.97


def test_words_in_one_utterance_differ_and_the_grid_is_kept(encoder: MiniLm) -> None:
    (encoded,) = encoder.encode([said("what a day", start_s=0.4)])
    assert encoded.values.shape == (40, 384)
    assert np.nonzero(encoded.valid)[0].tolist() == [4, 5, 6, 7, 8, 9]
    assert not np.allclose(encoded.values[4], encoded.values[8])
    np.testing.assert_array_equal(encoded.values[4], encoded.values[5])


def test_a_word_is_seen_in_its_context(encoder: MiniLm) -> None:
    (well,), (fever,) = encoder.encode([said("I feel fine")]), encoder.encode([said("paid the fine")])
    assert not np.allclose(well.values[4], fever.values[4], atol=1e-2)


def test_a_clip_does_not_depend_on_its_neighbours(encoder: MiniLm) -> None:
    clips = [said("hello there"), said("a much longer sentence with many more words in it")]
    for clip, encoded in zip(clips, encoder.encode(clips), strict=True):
        np.testing.assert_array_equal(encoder.encode([clip])[0].values, encoded.values)


def test_more_tokens_than_the_encoder_reads(encoder: MiniLm) -> None:
    long_word = "unfathomable" * 40
    (encoded,) = encoder.encode([said(" ".join([long_word] * 12))])
    assert encoded.valid.any()
    assert np.isfinite(encoded.values).all()


def test_nothing_said_is_nothing(encoder: MiniLm) -> None:
    (encoded,) = encoder.encode([make_aligned_clip(steps=5, words=())])
    assert encoded.values.shape == (5, 384)
    assert not encoded.valid.any()


def test_a_sentence_alone_is_the_mean_over_its_tokens(encoder: MiniLm) -> None:
    vectors = encoder.sentences(["A person who feels anger", "A person who feels joy"])
    assert vectors.shape == (2, encoder.width)
    # What a clip with these words, and nothing else, has as its utterance.
    words = [Word(text=text, start_s=0.2 * at, end_s=0.2 * at + 0.2) for at, text in enumerate(["I", "feel", "joy"])]
    _, whole = encoder._vectors(Utterance(words=tuple(words)))
    np.testing.assert_array_equal(encoder.sentences(["I feel joy"])[0], whole)
