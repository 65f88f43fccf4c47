from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from components.contracts.labels import ABAW8
from components.datasets.synthetic.signs import AFFECT, EMOTIONS, FLASHES, SIGNS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "datasets.md"
# Face signs that differ only in their order in time.
MIRRORED = frozenset({"brows_then_smile", "smile_then_brows"})


def confused_with(emotion: str, modality: str, *, order: bool = False) -> frozenset[str]:
    """The emotions that look the same in one modality, the emotion itself among them.

    With `order=False` mirrored faces count as the same: the information in a bag of frames.
    """
    sign = shown(emotion, modality, order)
    return frozenset(other for other in EMOTIONS if shown(other, modality, order) == sign)


def shown(emotion: str, modality: str, order: bool) -> str:
    sign = str(getattr(SIGNS[emotion], modality))
    return "mirrored" if not order and sign in MIRRORED else sign


def test_the_classes_are_those_of_the_default_taxonomy() -> None:
    assert set(EMOTIONS) == set(ABAW8.classes) == set(SIGNS) == set(AFFECT)


@pytest.mark.parametrize("modality", ["face", "voice", "text"])
def test_each_sign_stands_for_exactly_two_emotions(modality: str) -> None:
    for emotion in EMOTIONS:
        assert len(confused_with(emotion, modality)) == 2


def test_each_modality_confuses_other_pairs() -> None:
    pairs = {modality: {confused_with(emotion, modality) for emotion in EMOTIONS} for modality in ("voice", "text")}
    pairs["face"] = {confused_with(emotion, "face") for emotion in EMOTIONS}
    assert pairs["face"] & pairs["voice"] == {frozenset({"happiness", "other"})}
    assert not pairs["face"] & pairs["text"]
    assert not pairs["voice"] & pairs["text"]


def test_any_two_of_face_voice_and_text_tell_all_emotions_apart() -> None:
    for first, second in combinations(("face", "voice", "text"), 2):
        for emotion in EMOTIONS:
            left = confused_with(emotion, first, order=True) & confused_with(emotion, second, order=True)
            assert left == {emotion}, (first, second)


def test_without_order_face_and_voice_cannot_tell_happiness_from_other() -> None:
    left = confused_with("happiness", "face") & confused_with("happiness", "voice")
    assert left == {"happiness", "other"}
    assert confused_with("happiness", "face", order=True) == {"happiness"}


def test_physiology_tells_only_high_from_low() -> None:
    assert {len(confused_with(emotion, "physio")) for emotion in EMOTIONS} == {4}


def test_only_steady_signs_flash() -> None:
    assert not MIRRORED & {SIGNS[emotion].face for emotion in FLASHES}


def test_the_table_in_the_docs_is_this_table() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$", DOCS.read_text(), re.MULTILINE)
    written = {row[0]: row[1:] for row in rows if row[0] in SIGNS}
    assert written == {emotion: (signs.face, signs.voice, signs.text, signs.physio) for emotion, signs in SIGNS.items()}
