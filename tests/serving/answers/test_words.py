from __future__ import annotations

from components.serving.answers.schemas import ModalityDistance
from components.serving.answers.words import contradiction_words, outside_words, presence_notes


def test_contradiction_in_words() -> None:
    emotions = {"face": ("happiness", 0.82), "voice": ("sadness", 0.75)}
    pair = ("face", "voice")
    assert contradiction_words(0.96, pair, emotions, threshold=0.9, at_s=2.34) == (
        "The modalities contradict each other, most strongly around 2.3 s: the face shows happiness (82 %), the voice "
        "shows sadness (75 %). 96 % of ordinary clips are less contradictory."
    )
    assert contradiction_words(0.5, pair, emotions, threshold=0.9, at_s=2.34) == (
        "The modalities differ, but no more than in many ordinary clips, most strongly around 2.3 s: the face shows "
        "happiness (82 %), the voice shows sadness (75 %)."
    )
    agreeing = {"face": ("anger", 0.8), "text": ("anger", 0.7)}
    assert contradiction_words(0.1, ("face", "text"), agreeing, threshold=0.9) == (
        "The modalities agree: the face shows anger (80 %), the words show anger (70 %)."
    )


def test_a_clip_with_nothing_to_compare() -> None:
    words = contradiction_words(None, None, {}, threshold=0.6, present=("voice",))
    assert words == "Only the voice could be judged, so there is nothing to compare."
    assert contradiction_words(None, None, {}, threshold=0.6) == "Nothing could be judged."
    assert contradiction_words(None, None, {}, threshold=0.6, present=("face", "voice")) == (
        "There is nothing to compare: at no moment do two modalities that the version was trained on "
        "have a prediction of their own."
    )


def test_outside_training_names_only_what_lies_outside() -> None:
    inside = ModalityDistance(distance=1.0, threshold=2.0, outside=False)
    outside = ModalityDistance(distance=41.24, threshold=18.31, outside=True)
    words = outside_words({"face": outside, "voice": inside}, ("face", "voice"))
    assert "the face (distance 41.24, usual up to 18.31)" in words
    assert "voice" not in words
    assert outside_words({"voice": inside}, ("voice",)) == "This clip looks like what the version was trained on."
    assert outside_words({}, ("voice", "text")) == (
        "There is no answer: the clip has nothing that this version was trained on (the voice, the words)."
    )


def test_notes_name_what_the_version_cannot_use() -> None:
    notes = presence_notes({"voice": 0.5, "text": 0.0, "face_au": 0.0}, {"face": 0.9}, ready_made={"face_au"})
    assert notes == [
        "text: absent from this clip",
        "face_au: absent from this clip; this version needs its features ready-made",
        "face: present in 90 % of the clip, ignored because this version was trained without it",
    ]
