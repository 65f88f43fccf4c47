from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from components.ablation.forest import BETTER, GREY, WORSE, forest
from components.ablation.report import figure, number


def row(name: str, value: float, low: float, high: float, kind: str = "trained") -> dict[str, Any]:
    difference = {"value": value, "low": low, "high": high, "seed_sd": 0.004}
    return {"name": name, "kind": kind, "figures": {"macro_f1": {"value": 0.7 + value}},
            "minus_default": {"macro_f1": difference}}  # fmt: skip


def shows(png: bytes, colour: str) -> bool:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    return bool((pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(1).any())


def test_colours_of_the_forest_say_where_0_lies() -> None:
    default = {"name": "default", "kind": "trained", "figures": {"macro_f1": {"value": 0.7}}}
    for one, expected in (
        (row("better", 0.02, 0.01, 0.03), BETTER),
        (row("worse", -0.02, -0.03, -0.01), WORSE),
        (row("maybe", 0.01, -0.01, 0.02), GREY),
    ):
        picture = forest([default, one], confidence=0.95)
        assert [shade for shade in (BETTER, WORSE, GREY) if shows(picture, shade)] == [expected]


def test_a_forest_of_one_is_drawn() -> None:
    default = {"name": "default", "kind": "trained", "figures": {"macro_f1": {"value": 0.7}}}
    assert forest([default], confidence=0.95).startswith(b"\x89PNG")


def test_figures_read_well() -> None:
    value = {"value": -0.0123, "low": -0.02, "high": 0.0}
    assert figure(value) == "-0.012 [-0.020, 0.000]"
    assert figure(value, signed=True) == "-0.012 [-0.020, +0.000]"
    assert figure(value, interval=False) == "-0.012"
    assert figure({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert figure(None) == figure({"value": None, "low": None, "high": None}) == number(None) == "–"
