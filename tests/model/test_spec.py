from __future__ import annotations

import json

import pytest

from components.contracts.config import Model
from components.contracts.errors import ModelError
from components.model.spec import ModelSpec
from tests.model.toys import CLASSES, WIDTHS, toy_spec


def test_json_round_trip_keeps_everything() -> None:
    spec = ModelSpec(
        modalities=WIDTHS, classes=CLASSES, model=Model(width=48, causal=True), absent=("class3",), rate_hz=25.0
    )
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_names_do_not_depend_on_the_order_of_the_mapping() -> None:
    one = ModelSpec(modalities={"pose": 3, "voice": 2, "face": 1}, classes=CLASSES, model=Model())
    other = ModelSpec(modalities={"face": 1, "pose": 3, "voice": 2}, classes=CLASSES, model=Model())
    assert one.names == other.names == ("face", "voice", "pose")


def test_another_label_map_is_refused_with_both() -> None:
    spec = toy_spec()
    spec.check(classes=CLASSES)
    with pytest.raises(ModelError, match="a different label map") as caught:
        spec.check(classes=CLASSES[::-1])
    assert "class0, class1" in str(caught.value)


def test_another_feature_width_is_refused_by_modality() -> None:
    spec = toy_spec()
    spec.check(modalities={"face": WIDTHS["face"], "pose": 7})
    with pytest.raises(ModelError, match=r"modality voice: .*a different width; seen 10; allowed: 11"):
        spec.check(modalities={"voice": WIDTHS["voice"] + 1})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"modalities": {}}, "at least one modality"),
        ({"modalities": {"face": 0}}, "bad modality"),
        ({"classes": ("one",)}, "two different classes"),
        ({"classes": ("one", "one")}, "two different classes"),
        ({"absent": ("nothing",)}, "must be among the classes"),
        ({"absent": CLASSES[1:]}, "fewer than two classes"),
    ],
)
def test_impossible_specs_are_refused(fields: dict[str, object], words: str) -> None:
    good = {"modalities": WIDTHS, "classes": CLASSES, "model": Model()}
    with pytest.raises(ModelError, match=words):
        ModelSpec(**{**good, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [{}, {"modalities": 3}, {**toy_spec().to_json(), "model": {"widht": 3}}])
def test_foreign_json_is_a_model_error(value: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="not a model spec"):
        ModelSpec.from_json(value)
