from __future__ import annotations

import math

import pytest
import torch

from pipelines.reproduction.compare import ABSENT, compare_weights, differences, moved, settings

NAMES = {"macro_f1": "macro-F1", "ece": "ECE"}


def test_equal_bits_are_equal_also_where_a_weight_is_not_a_number() -> None:
    weights = {"a": torch.tensor([1.0, math.nan]), "b": torch.zeros(2, 3)}
    compared = compare_weights(weights, {name: value.clone() for name, value in weights.items()})
    assert compared.equal
    assert compared.words == "The weights are bit-equal: 2 of 2 tensors."


@pytest.mark.parametrize(
    ("again", "largest"),
    [
        ({"a": torch.tensor([1.0, 2.5])}, 0.5),
        ({"a": torch.tensor([1.0, 2.0 + 2**-22])}, 2**-22),
        ({"a": torch.tensor([1.0, math.nan])}, math.inf),
        ({"a": torch.tensor([1.0])}, math.inf),
        ({"a": torch.tensor([1.0, 2.0], dtype=torch.float64)}, math.inf),
        ({}, math.inf),
    ],
)
def test_what_differs_is_named_with_its_size(again: dict[str, torch.Tensor], largest: float) -> None:
    same = {"same": torch.ones(3)}
    compared = compare_weights({"a": torch.tensor([1.0, 2.0]), **same}, {**again, **same})
    assert dict(compared.largest) == {"a": largest}
    assert not compared.equal
    assert "differ in 1 of 2 tensors" in compared.words
    assert "(a)" in compared.words


def test_zeros_of_different_sign_are_different_bits() -> None:
    compared = compare_weights({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])})
    assert dict(compared.largest) == {"a": 0.0}


def test_only_what_differs_is_listed() -> None:
    recorded = {"torch": "2.13.0", "numpy": "2.4.1", "gone": "1"}
    here = {"torch": "2.14.0", "numpy": "2.4.1", "new": "2"}
    assert differences(recorded, here) == [
        ("gone", "1", ABSENT),
        ("new", ABSENT, "2"),
        ("torch", "2.13.0", "2.14.0"),
    ]
    assert differences(recorded, dict(recorded)) == []


def test_settings_are_compared_by_value_and_not_by_text() -> None:
    assert settings("train:\n  epochs: 3  # few\n") == settings("train: {epochs: 3}\n") == {"train.epochs": "3"}
    assert settings("") == {}


def test_figures_of_the_level_that_counts_are_compared() -> None:
    recorded = {"level": "step", "step": {"macro_f1": {"value": 0.5, "low": 0.4, "high": 0.6}, "ece": {"value": None}}}
    again = {"step": {"macro_f1": {"value": 0.45, "low": 0.3, "high": 0.6}, "ece": {"value": 0.1}}, "clip": {}}
    assert moved(recorded, again, NAMES) == [("macro-F1", "0.5000 [0.400, 0.600]", "0.4500", "-0.0500")]
    assert moved({}, {}, NAMES) == []
