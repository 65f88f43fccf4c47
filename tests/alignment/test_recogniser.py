"""The real pipeline of transformers on tiny Whisper checkpoints: no weights of a real one are needed here."""

from __future__ import annotations

import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from components.alignment.align import Aligner
from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.recogniser import LONGEST_S, create_recogniser, recogniser_fingerprint, stretches
from components.contracts.config import Alignment, VoiceAlignment, WordsAlignment
from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.records import Word
from components.contracts.timebase import Grid
from tests.alignment.media import tone, wav
from tests.alignment.whispers import save_whisper
from tests.builders import make_clip

GRID = Grid(rate_hz=10.0, num_steps=60)
SPOKEN = ("<|0.20|>", " so", " it", " is", "<|0.80|>")


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper") / "segments", SPOKEN, heads=False)


@pytest.fixture(scope="module")
def each_word(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper") / "words", SPOKEN, heads=True)


@pytest.fixture(scope="module")
def at_random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper") / "random", None, heads=True)


def configured(folder: Path | str) -> WordsAlignment:
    return WordsAlignment(recogniser=f"transformers:{folder}")


def voiced(*spans: tuple[float, float]) -> np.ndarray:
    mask = np.zeros(GRID.num_steps, dtype=bool)
    for start_s, end_s in spans:
        mask[GRID.overlap(start_s, end_s)] = True
    return mask


def heard(folder: Path, mask: np.ndarray) -> tuple[Word, ...]:
    recogniser = create_recogniser(configured(folder))
    assert recogniser is not None
    pcm = np.random.default_rng(0).integers(-3000, 3000, 96_000).astype(np.int16)
    return recogniser.words(pcm, 16_000, mask, GRID)


def test_segments_are_spread_over_the_speech_in_them(segments: Path) -> None:
    words = heard(segments, voiced((1.0, 2.0), (4.0, 5.5)))
    assert [word.text for word in words] == ["so", "it", "is"] * 2
    # A stretch is heard from 0.2 s before it: the segment is at 0.8 + 0.2 to 0.8 + 0.8 s.
    assert (words[0].start_s, words[2].end_s) == pytest.approx((1.0, 1.6))
    assert (words[3].start_s, words[5].end_s) == pytest.approx((4.0, 4.6))
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(words))


def test_words_have_their_own_times_where_the_checkpoint_can_tell(each_word: Path) -> None:
    words = heard(each_word, voiced((1.0, 2.0)))
    assert [word.text for word in words] == ["so", "it", "is"]
    assert all(0.8 - 1e-9 <= word.start_s < word.end_s <= 2.2 + 1e-9 for word in words)


def test_whatever_it_says_lies_within_what_it_heard_and_twice_the_same(at_random: Path) -> None:
    mask = voiced((1.0, 2.0), (4.0, 5.5))
    words = heard(at_random, mask)
    assert words
    assert words == heard(at_random, mask)
    assert all(word.text.strip() and word.start_s < word.end_s for word in words)
    inside = [(0.8, 2.2), (3.8, 5.7)]
    assert all(any(a - 1e-9 <= word.start_s and word.end_s <= b + 1e-9 for a, b in inside) for word in words)


def test_stretches_of_speech() -> None:
    assert stretches(voiced(), GRID, 6.0) == []
    assert stretches(voiced((0.0, 1.0), (1.5, 2.0), (3.0, 3.5), (5.9, 6.0)), GRID, 5.95) == [
        (0.0, pytest.approx(2.2)),
        (pytest.approx(2.8), pytest.approx(3.7)),
        (pytest.approx(5.7), 5.95),
    ]
    long = Grid(rate_hz=10.0, num_steps=1_000)
    found = stretches(np.ones(1_000, dtype=bool), long, 100.0)
    assert found[0][0] == 0.0
    assert found[-1][1] == 100.0
    assert all(end - start <= LONGEST_S for start, end in found)
    assert all(a[1] == b[0] for a, b in pairwise(found))


@pytest.fixture(scope="module")
def listening(segments: Path) -> Aligner:
    return Aligner(Alignment(words=configured(segments), voice=VoiceAlignment(activity="energy")))


@pytest.fixture
def sounding(tmp_path: Path) -> Path:
    sound = np.zeros(64_000, dtype=np.float32)
    sound[16_000:48_000] = tone(2.0, 16_000)
    return wav(tmp_path / "a.wav", sound)


def test_a_clip_without_text_gets_what_is_heard(listening: Aligner, sounding: Path) -> None:
    clip = listening.align(make_clip(audio_path="a.wav"), root=sounding.parent)
    assert [word.text for word in clip.words] == ["so", "it", "is"]
    assert clip.words_source == "recognised"
    assert clip.words[0].start_s == pytest.approx(1.0, abs=0.1)
    assert clip.masks["text"].any()
    assert "the words are what a speech recogniser heard" in clip.quality.notes


def test_what_a_corpus_brings_goes_first(listening: Aligner, sounding: Path) -> None:
    word = Word(text="hi", start_s=1.2, end_s=1.5)
    clip = listening.align(make_clip(audio_path="a.wav", words=(word,)), root=sounding.parent)
    assert (clip.words, clip.words_source) == ((word,), "given")
    clip = listening.align(make_clip(audio_path="a.wav", transcript="what a day"), root=sounding.parent)
    assert ([word.text for word in clip.words], clip.words_source) == (["what", "a", "day"], "spread")


def test_silence_is_not_listened_to(listening: Aligner, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", np.zeros(32_000, dtype=np.float32) + 0.02 * tone(2.0, 16_000))
    clip = listening.align(make_clip(audio_path="a.wav"), root=tmp_path)
    assert (clip.words, clip.words_source) == ((), "none")


def test_the_recogniser_is_part_of_the_fingerprint_by_what_it_holds(
    segments: Path, each_word: Path, tmp_path: Path
) -> None:
    prints = {alignment_fingerprint(Alignment(words=configured(folder))) for folder in (segments, each_word)}
    assert len(prints | {alignment_fingerprint(Alignment())}) == 3
    moved = shutil.copytree(segments, tmp_path / "elsewhere")
    assert alignment_fingerprint(Alignment(words=configured(moved))) in prints
    assert recogniser_fingerprint(WordsAlignment()) is None
    assert create_recogniser(WordsAlignment()) is None


def test_what_is_missing_is_named(segments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"alignment\.words\.recogniser.*cannot be fetched"):
        Aligner(Alignment(words=configured("nobody/nothing")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnavailableError, match=r"alignment\.words\.recogniser.*not a transformers checkpoint"):
        alignment_fingerprint(Alignment(words=configured(tmp_path / "empty")))
    mute = shutil.copytree(segments, tmp_path / "mute")
    (mute / "tokenizer.json").unlink()
    with pytest.raises(UnavailableError, match=r"has no tokenizer\.json"):
        create_recogniser(configured(mute))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UnavailableError, match="transformers is not installed"):
        create_recogniser(configured(segments))


def test_another_kind_of_checkpoint_is_refused(segments: Path, tmp_path: Path) -> None:
    other = shutil.copytree(segments, tmp_path / "other")
    (other / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match=r"not a supported speech recogniser.*whisper"):
        create_recogniser(configured(other))


def test_the_configuration_names_it_or_none() -> None:
    with pytest.raises(ValueError, match="no recogniser"):
        WordsAlignment(recogniser="whisper-tiny")
