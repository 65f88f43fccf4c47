from __future__ import annotations

from components.serving.schemas import ModalityDistance, ModalityView
from components.serving.words import contradiction_words, outside_words, presence_notes


def view(emotion: str, confidence: float) -> ModalityView:
    return ModalityView(emotion=emotion, confidence=confidence, posterior={emotion: confidence})


def test_contradiction_in_words() -> None:
    views = {"face": view("happiness", 0.82), "voice": view("sadness", 0.75)}
    pair = ("face", "voice")
    assert contradiction_words(0.7, pair, views, threshold=0.6) == (
        "They contradict each other: the face says happiness (82 %), the voice says sadness (75 %)."
    )
    assert contradiction_words(0.5, pair, views, threshold=0.6).startswith("They agree only in part")
    assert contradiction_words(0.1, pair, views, threshold=0.6).startswith("They agree only in part")
    agreeing = {"face": view("anger", 0.8), "text": view("anger", 0.7)}
    assert contradiction_words(0.1, ("face", "text"), agreeing, threshold=0.6) == (
        "They agree: the face says anger (80 %), the words say anger (70 %)."
    )


def test_one_modality_contradicts_nobody() -> None:
    words = contradiction_words(0.0, None, {"voice": view("fear", 0.5)}, threshold=0.6)
    assert words == "Only the voice could be judged, so there is nothing to compare."
    assert contradiction_words(0.0, None, {}, threshold=0.6) == "Nothing could be judged."


def test_outside_training_names_only_what_lies_outside() -> None:
    inside = ModalityDistance(distance=1.0, threshold=2.0, outside=False)
    outside = ModalityDistance(distance=41.24, threshold=18.31, outside=True)
    words = outside_words({"face": outside, "voice": inside}, ("face", "voice"))
    assert "the face (distance 41.24, usual up to 18.31)" in words
    assert "voice" not in words
    assert outside_words({"voice": inside}, ("voice",)) == "This clip looks like what the version was trained on."
    assert outside_words({}, ("voice", "text")) == (
        "This version was trained on the voice, the words, and the clip has none of it: there is no answer."
    )


def test_what_the_version_cannot_use_is_said() -> None:
    notes = presence_notes({"voice": 0.5, "text": 0.0}, {"face": 0.9})
    assert notes == [
        "text: absent from this clip",
        "face: seen in 90 % of the clip, but this version was trained without it: ignored",
    ]
