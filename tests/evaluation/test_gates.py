from __future__ import annotations

import pytest

from components.contracts.config import Gates
from components.evaluation.gates import GATES, HOLDS, Evidence, Gate, judge, passed
from components.evaluation.intervals import Interval

CONFIG = Gates(min_gain_over_majority=0.1, max_ece=0.2, max_missing_modality_drop=0.5)


def gates(**values) -> dict[str, Gate]:
    given = {
        "level": "clip",
        "macro_f1": Interval(value=0.7, low=0.6, high=0.8),
        "majority_f1": 0.1,
        "ece": 0.1,
        "drops": {"face": 0.2, "voice": 0.3},
        "figures": {},
    }
    return {gate.name: gate for gate in judge(CONFIG, Evidence(**{**given, **values}))}


def test_every_setting_bounds_one_gate_and_says_on_which_side() -> None:
    assert list(GATES) == list(Gates.model_fields)
    assert {setting.partition("_")[0] for setting in GATES} <= HOLDS.keys()
    assert list(gates()) == [setting.partition("_")[2] for setting in GATES]
    assert list(gates())[:3] == ["gain_over_majority", "ece", "missing_modality_drop"]


def test_a_good_model_passes_with_its_evidence() -> None:
    found = gates()
    assert passed(list(found.values()))
    assert found["gain_over_majority"].value == pytest.approx(0.5)
    assert found["missing_modality_drop"].words == "without voice, macro-F1 falls by 0.300, wanted ≤ 0.5"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("gain_over_majority", {"macro_f1": Interval(value=0.7, low=0.19, high=0.9)}),
        ("gain_over_majority", {"macro_f1": Interval(value=0.9, low=None, high=None)}),
        ("ece", {"ece": 0.21}),
        ("ece", {"ece": None}),
        ("missing_modality_drop", {"drops": {"face": 0.51}}),
    ],
)
def test_each_gate_closes_alone(name: str, values: dict) -> None:
    found = gates(**values)
    assert [gate.name for gate in found.values() if not gate.passed] == [name]
    assert not passed(list(found.values()))


def test_the_gain_is_that_of_the_intervals_lower_end_not_of_the_figure() -> None:
    assert not gates(macro_f1=Interval(value=0.9, low=0.15, high=1.0))["gain_over_majority"].passed


def test_a_single_modality_has_nothing_to_lose() -> None:
    assert gates(drops={})["missing_modality_drop"].passed
