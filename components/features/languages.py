"""The language of words, and whether an encoder knows it.

A sentence encoder for English gives numbers for Polish words too, and they mean nothing. Where the words of a clip are
surely in a language that the encoder does not know, the clip counts as one without words; the same for every clip of
the features stage and for every clip that is judged. Words that are too few, or unsure, are read as they are.

The language is recognised by py3langid (Lui and Baldwin 2012, "langid.py", trained anew on 120 languages and more): a
naive Bayes model over byte sequences, whose file is arrays alone. Equal words have equal results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from components.contracts.errors import ConfigError
from components.contracts.records import Word
from components.features.base import Encoder
from components.features.encoders.utterances import utterances

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Of 13,708 English utterances none was taken for a different language at this probability, and of 46 sentences of 20
# letters and more in 14 other languages 45 were recognised (docs/benchmarks/people.md).
SURE = 0.8
# Of different words in UTF-8: "ja ja ja" and "ha ha ha ha" are of many languages.
LEAST_BYTES = 12
# Recognising takes time in proportion; a page of a transcript says it as well as a book.
MOST_CHARACTERS = 20_000
MARK, ANY = "?languages=", "any"
# What the recogniser can tell apart, of two letters where ISO 639-1 has them; its few others are dialects and markup.
LANGUAGES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "as": "Assamese", "az": "Azerbaijani", "be": "Belarusian",
    "bg": "Bulgarian", "bn": "Bengali", "br": "Breton", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech",
    "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "fy": "Frisian",
    "ga": "Irish", "gd": "Scottish Gaelic", "gl": "Galician", "gu": "Gujarati", "ha": "Hausa", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "ht": "Haitian Creole", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian",
    "ig": "Igbo", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "jv": "Javanese", "ka": "Georgian",
    "kk": "Kazakh", "km": "Khmer", "kn": "Kannada", "ko": "Korean", "ku": "Kurdish", "ky": "Kyrgyz", "la": "Latin",
    "lb": "Luxembourgish", "lg": "Ganda", "ln": "Lingala", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian",
    "mg": "Malagasy", "mk": "Macedonian", "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi", "ms": "Malay",
    "mt": "Maltese", "my": "Burmese", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "nn": "Norwegian Nynorsk",
    "oc": "Occitan", "om": "Oromo", "or": "Odia", "pa": "Punjabi", "pl": "Polish", "ps": "Pashto", "pt": "Portuguese",
    "qu": "Quechua", "ro": "Romanian", "ru": "Russian", "rw": "Kinyarwanda", "sa": "Sanskrit", "si": "Sinhala",
    "sk": "Slovak", "sl": "Slovenian", "sn": "Shona", "so": "Somali", "sq": "Albanian", "sr": "Serbian",
    "st": "Sotho", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "tg": "Tajik", "th": "Thai",
    "tk": "Turkmen", "tl": "Tagalog", "tr": "Turkish", "tt": "Tatar", "ug": "Uyghur", "uk": "Ukrainian", "ur": "Urdu",
    "uz": "Uzbek", "vi": "Vietnamese", "wuu": "Wu Chinese", "xh": "Xhosa", "yo": "Yoruba", "yue": "Cantonese",
    "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip


@runtime_checkable
class ReadsWords(Protocol):
    """An encoder of words. `languages` are those that it knows; none: any, or nothing is known of it."""

    languages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Words that an encoder does not know: their language, the encoder, and the languages that it does know."""

    language: str
    encoder: str
    known: tuple[str, ...]

    @property
    def words(self) -> str:
        """As a note."""
        known = " and ".join(map(language_name, self.known))
        return (
            f"the words were in {language_name(self.language)}; the encoder {self.encoder} knows {known}, "
            "so they were not used"
        )


def language_name(code: str) -> str:
    """The English name of a language; the code itself for one without."""
    return LANGUAGES.get(code, code)


def recognised(words: Sequence[Word], before: str = "") -> str | None:
    """The code (ISO 639) of the language of a clip's words; None where there are too few to be sure. `before` is what
    was said before them, where they are part of a stream."""
    text = "\n".join([before, *(utterance.text for utterance in utterances(words))]).strip()[:MOST_CHARACTERS]
    if len("".join(set(text.lower().split())).encode("utf-8", "replace")) < LEAST_BYTES:
        return None
    code, probability = _recogniser().classify(text)
    return str(code) if probability >= SURE and code in LANGUAGES else None


def unread(encoder: Encoder, language: str | None) -> Unread | None:
    """Why an encoder does not read words of a language (None: not known); None where it does."""
    known = known_to(encoder)
    if language is None or not known or language in known:
        return None
    return Unread(language=language, encoder=encoder.name.partition(MARK)[0], known=known)


def known_to(encoder: Encoder) -> tuple[str, ...]:
    """The languages that an encoder knows; none: it reads any words, or no words at all."""
    return encoder.languages if isinstance(encoder, ReadsWords) else ()


def split(spec: str, modality: str) -> tuple[str, tuple[str, ...] | None]:
    """An encoder's spec without the languages, and these: none for any, None where the spec does not name them.

    Raises:
        ConfigError: a language that is not one of `LANGUAGES`, or the encoder does not read words.
    """
    name, mark, listed = spec.partition(MARK)
    if not mark:
        return spec, None
    where = f"features.encoders.{modality}"
    if modality != "text":
        raise ConfigError(
            "only encoders of words have languages", where=where, seen=spec, remedy=f"Write {name} without {MARK}…"
        )
    languages = tuple(listed.split(","))
    if languages == (ANY,):
        return name, ()
    for language in languages:
        if language not in LANGUAGES:
            raise ConfigError.unknown("language", language, (ANY, *LANGUAGES), where=where)
    return name, languages


@lru_cache(maxsize=1)
def _recogniser() -> LanguageIdentifier:
    """Half a second and 76 MB, at the first words."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
