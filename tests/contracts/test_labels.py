from __future__ import annotations

import pytest

from components.contracts.errors import DataError
from components.contracts.labels import ALIASES, CANONICAL, TAXONOMIES, canonical_of, taxonomy


@pytest.mark.parametrize("name", sorted(TAXONOMIES))
def test_every_canonical_name_has_a_place(name: str) -> None:
    chosen = taxonomy(name)
    for canonical in CANONICAL:
        mapped = chosen.class_of(canonical)
        assert mapped is None or mapped in chosen.classes


def test_calm_is_neutral_for_abaw_and_itself_for_ravdess() -> None:
    assert taxonomy("abaw8").class_of("calm") == "neutral"
    assert taxonomy("ravdess8").class_of("calm") == "calm"
    assert taxonomy("ravdess8").class_of("other") is None


def test_excitement_is_happiness_in_four_classes_of_iemocap_and_itself_in_six() -> None:
    assert taxonomy("iemocap4").class_of("excitement") == "happiness"
    assert taxonomy("iemocap6").class_of("excitement") == "excitement"
    assert taxonomy("iemocap4").class_of("frustration") is None


def test_an_unknown_emotion_names_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'happiness'"):
        taxonomy("abaw8").class_of("hapiness")


def test_other_names_of_an_emotion_lead_to_it_in_any_capitals() -> None:
    assert [canonical_of(name) for name in ("Joy", " ANG ", "calm", "Excited")] == [
        "happiness",
        "anger",
        "calm",
        "excitement",
    ]
    assert canonical_of("LABEL_3") is None
    assert set(ALIASES.values()) <= set(CANONICAL)
    assert not set(ALIASES) & set(CANONICAL)
