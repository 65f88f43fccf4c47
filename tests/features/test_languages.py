from __future__ import annotations

import itertools
import re

import pytest

from components.contracts.errors import ConfigError
from components.contracts.records import Word
from components.datasets.synthetic.text import SLOTS, TEMPLATES
from components.features.encoders.hashing import HashedWords
from components.features.encoders.minilm import MiniLm
from components.features.languages import LANGUAGES, Unread, _recogniser, recognised, split, unread
from components.features.registry import create

SPOKEN = {
    "ar": "لا أعرف ماذا أفعل الآن",
    "de": "Ich weiß nicht, was ich machen soll.",
    "en": "Kids are talking by the door",
    "es": "No sé qué hacer ahora, ayer estaba todo muy tranquilo.",
    "fr": "Pourquoi tu ne m'as rien dit ?",
    "hi": "मुझे नहीं पता कि अब क्या करूँ।",
    "it": "Ieri siamo andati nel bosco con i bambini.",
    "nl": "Waarom heb je me dat niet verteld?",
    "pl": "Nie wiem, co mam teraz zrobić.",
    "ru": "Почему ты мне ничего не сказал?",
    "sv": "I går gick vi till skogen med barnen och det var alldeles tyst.",
    "tr": "Şimdi ne yapacağımı bilmiyorum.",
}
# Too short, said again and again, of many languages, of none, or names alone.
UNSURE = [
    "",
    "no",
    "ja ja ja ja ja",
    "ha ha ha ha ha ha ha",
    "Mama Papa Mama",
    "好吧",
    "1 2 3 4 5 6 7 8 9",
]
UNSURE += ["Joey Ross Monica Rachel Phoebe Chandler", "okay okay okay okay okay okay okay", "[laughter] [music]"]


def said(text: str) -> tuple[Word, ...]:
    return tuple(Word(text=word, start_s=0.4 * at, end_s=0.4 * at + 0.3) for at, word in enumerate(text.split()))


@pytest.mark.parametrize("language", SPOKEN)
def test_one_sentence_is_enough(language: str) -> None:
    assert recognised(said(SPOKEN[language])) == language
    assert recognised(said(SPOKEN[language].upper())) == language


def test_words_of_a_script_without_blanks_are_read_as_it_writes_them() -> None:
    words = [
        Word(text=text, start_s=0.1 * at, end_s=0.1 * at + 0.1)
        for at, text in enumerate("昨天我们和孩子们去了森林那里非常安静")
    ]
    assert recognised(words) == "zh"


@pytest.mark.parametrize("text", UNSURE)
def test_what_is_not_sure_has_no_language(text: str) -> None:
    assert recognised(said(text)) is None


def test_no_sentence_of_the_synthetic_corpus_is_taken_for_a_different_language() -> None:
    sentences = [
        re.sub(r"\{\w+\}", "{}", template).format(*words)
        for template in itertools.chain.from_iterable(TEMPLATES.values())
        for words in itertools.product(*(SLOTS[name] for name in re.findall(r"\{(\w+)\}", template)))
    ]
    assert len(sentences) > 400
    assert {recognised(said(sentence)) for sentence in sentences} == {"en", None}


def test_a_language_that_an_encoder_does_not_know_is_said_in_words() -> None:
    english = MiniLm()
    assert unread(english, "en") is None
    assert unread(english, None) is None
    assert unread(HashedWords(), "pl") is None
    assert unread(create("signal", "voice"), "pl") is None
    why = unread(english, "pl")
    assert why == Unread(language="pl", encoder="minilm", known=("en",))
    assert why.words == "the words were in Polish; the encoder minilm knows English, so they were not used"


def test_whoever_names_an_encoder_says_what_it_knows() -> None:
    assert unread(create("minilm?languages=any", "text"), "pl") is None
    some = create("hashing?languages=de,fr", "text")
    assert unread(some, "de") is None
    why = unread(some, "pl")
    assert why is not None
    assert why.words.endswith("the encoder hashing knows German and French, so they were not used")
    assert split("minilm", "text") == ("minilm", None)
    assert create("hashing?languages=de", "text").fingerprint != create("hashing", "text").fingerprint


@pytest.mark.parametrize(
    ("spec", "modality", "message"),
    [
        ("minilm?languages=eng", "text", "unknown language; seen 'eng'; .*Did you mean 'en'"),
        ("minilm?languages=", "text", "unknown language"),
        ("fer?languages=en", "face", "only encoders of words have languages"),
        ("minilmm?languages=en", "text", "unknown encoder.*Did you mean 'minilm'"),
    ],
)
def test_a_mistaken_spec_is_named(spec: str, modality: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create(spec, modality)


def test_every_language_is_one_that_the_recogniser_can_tell() -> None:
    assert set(LANGUAGES) <= set(_recogniser().labels)
