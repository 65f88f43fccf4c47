from __future__ import annotations

import json

import pytest

from components.contracts.config import Labels
from components.contracts.errors import ConfigError, DataError
from components.contracts.labels import ALIASES, CANONICAL, TAXONOMIES, Taxonomy, canonical_of, taxonomy


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


MOODS = {"positive": ["Happy", "froh"], "negative": ["anger", "sadness"]}


def test_classes_of_ones_own_take_labels_in_any_capitals_and_their_other_names() -> None:
    own = Labels.model_validate({"taxonomy": MOODS, "left_out": ["unklar"]}).resolved
    assert own.classes == ("negative", "positive")
    labels = ("FROH", "joy", "Positive", "happiness", "sad", "Unklar", "fear", "fröhlich")
    assert [own.name_of(label) for label in labels] == [
        "froh", "happiness", "positive", "happiness", "sadness", "unklar", "fear", None,
    ]  # fmt: skip
    classes = {name: own.class_of(name) for name in own.names}
    assert {name for name, chosen in classes.items() if chosen == "positive"} == {
        "positive", "happy", "froh", "happiness",
    }  # fmt: skip
    assert classes["unklar"] is classes["fear"] is None
    remedy = own.remedy("fröh")
    assert remedy.startswith("Did you mean 'froh'?")
    assert "labels: {taxonomy: {CLASS: [fröh" in remedy


def test_a_class_named_like_a_synonym_takes_the_emotion() -> None:
    own = Taxonomy.of({"Joy": [], "Wut": ["angry"]})
    assert (own.class_of("happiness"), own.class_of("joy"), own.class_of("anger")) == ("Joy", "Joy", "Wut")


def test_a_taxonomy_of_ones_own_travels_as_json_and_a_named_one_by_its_name() -> None:
    own = Taxonomy.of(MOODS, ["other"])
    assert Taxonomy.from_json(json.loads(json.dumps(own.to_json()))) == own
    assert taxonomy("abaw8").to_json() == "abaw8"
    assert Taxonomy.from_json("abaw8") is taxonomy("abaw8")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"taxonomy": {"calm": []}}, "needs two classes"),
        ({"taxonomy": {"a": ["x"], "b": ["X"]}}, "in two places"),
        ({"taxonomy": {"a": ["x"], "b": []}, "left_out": ["x"]}, "in two places"),
        ({"taxonomy": {True: [], False: []}}, "Write it in quotes"),
        ({"taxonomy": "abaw9"}, "Did you mean 'abaw8'"),
    ],
)
def test_what_is_no_taxonomy_is_refused_with_words(section: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Labels.model_validate(section)
