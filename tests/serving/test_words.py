from __future__ import annotations

from components.serving.schemas import ModalityDistance
from components.serving.words import contradiction_words, outside_words, presence_notes


def test_contradiction_in_words() -> None:
    says = {"face": ("happiness", 0.82), "voice": ("sadness", 0.75)}
    pair = ("face", "voice")
    assert contradiction_words(0.96, pair, says, threshold=0.9, at_s=2.34) == (
        "They contradict each other, most around 2.3 s: the face says happiness (82 %), the voice says sadness (75 %). "
        "Of ordinary clips, 96 % never do as much."
    )
    assert contradiction_words(0.5, pair, says, threshold=0.9, at_s=2.34) == (
        "They differ no more than in many clips, most around 2.3 s: the face says happiness (82 %), the voice says "
        "sadness (75 %)."
    )
    agreeing = {"face": ("anger", 0.8), "text": ("anger", 0.7)}
    assert contradiction_words(0.1, ("face", "text"), agreeing, threshold=0.9) == (
        "They agree: the face says anger (80 %), the words say anger (70 %)."
    )


def test_nothing_to_compare_is_said() -> None:
    words = contradiction_words(None, None, {}, threshold=0.6, present=("voice",))
    assert words == "Only the voice could be judged, so there is nothing to compare."
    assert contradiction_words(None, None, {}, threshold=0.6) == "Nothing could be judged."
    words = contradiction_words(None, None, {}, threshold=0.6, present=("face", "voice"))
    assert words.startswith("It cannot be told whether the face, the voice agree")


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
    notes = presence_notes({"voice": 0.5, "text": 0.0, "face_au": 0.0}, {"face": 0.9}, given={"face_au"})
    assert notes == [
        "text: absent from this clip",
        "face_au: absent from this clip, this version takes it ready-made",
        "face: seen in 90 % of the clip, but this version was trained without it: ignored",
    ]
