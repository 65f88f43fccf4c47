from __future__ import annotations

from components.tracking.names import flat_figures, flatten, legal


def test_flatten_names_by_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": (1, 2)}}, "e": None, "f": {}}, separator=".") == {
        "a.b": 1,
        "a.c.d": (1, 2),
        "e": None,
    }


def test_flat_names_are_ones_that_mlflow_takes() -> None:
    tree = {"a+b": {"x": {"value": 1.0, "low": 0.5, "high": None}}, "none": {"value": None, "low": None, "high": None}}
    assert flat_figures({**tree, "flag": True, "text": "no", "n": 3}) == {"a_b/x": 1.0, "n": 3.0}


def test_a_name_keeps_what_mlflow_takes() -> None:
    assert legal("Überraschung/a_b-c.d: e") == "Überraschung/a_b-c.d: e"
    assert legal("face+voice (%)") == "face_voice ___"
