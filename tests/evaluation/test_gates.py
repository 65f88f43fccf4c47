from __future__ import annotations

import pytest

from components.contracts.config import Gates
from components.evaluation.gates import GATES, HOLDS, Evidence, Gate, Verdict, judge, passed
from components.evaluation.intervals import Interval
from components.evaluation.versions.comparison import Shortfall

CONFIG = Gates(min_gain_over_majority=0.1, max_ece=0.2, max_missing_modality_drop=0.3)


def of(value: float, low: float | None, high: float | None) -> Interval:
    return Interval(value=value, low=low, high=high)


def fall(value: float, low: float, high: float, alone: str = "text") -> Shortfall:
    return Shortfall(interval=of(value, low, high), alone=alone)


def gates(**values) -> dict[str, Gate]:
    given = {
        "level": "clip",
        "macro_f1": of(0.7, 0.6, 0.8),
        "majority_f1": 0.1,
        "ece": of(0.1, 0.05, 0.15),
        "shortfalls": {"face": fall(0.02, -0.05, 0.1), "voice": fall(0.05, 0.0, 0.2)},
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
    assert found["gain_over_majority"].value == pytest.approx(0.6)
    assert found["missing_modality_drop"].words == (
        "without voice, macro-F1 is 0.050 [0.000, 0.200] below what text alone gives on the same clips, "
        "wanted ≤ 0.3 below"
    )


@pytest.mark.parametrize(
    ("name", "values", "verdict"),
    [
        ("gain_over_majority", {"macro_f1": of(0.15, 0.12, 0.18)}, Verdict.FAILED),
        ("gain_over_majority", {"macro_f1": of(0.7, 0.19, 0.9)}, Verdict.UNDECIDED),
        ("gain_over_majority", {"macro_f1": of(0.9, None, None)}, Verdict.UNDECIDED),
        ("ece", {"ece": of(0.3, 0.21, 0.4)}, Verdict.FAILED),
        ("ece", {"ece": of(0.15, 0.1, 0.21)}, Verdict.UNDECIDED),
        ("ece", {"ece": of(0.21, 0.15, 0.3)}, Verdict.UNDECIDED),
        ("ece", {"ece": of(0.1, None, None)}, Verdict.UNDECIDED),
        ("ece", {"ece": None}, Verdict.UNDECIDED),
        ("missing_modality_drop", {"shortfalls": {"face": fall(0.5, 0.4, 0.6)}}, Verdict.FAILED),
        ("missing_modality_drop", {"shortfalls": {"face": fall(0.25, 0.1, 0.4)}}, Verdict.UNDECIDED),
    ],
)
def test_each_gate_closes_alone(name: str, values: dict, verdict: Verdict) -> None:
    found = gates(**values)
    assert [gate.name for gate in found.values() if not gate.passed] == [name]
    assert found[name].verdict is verdict
    assert not passed(list(found.values()))
    measured = verdict is Verdict.UNDECIDED and found[name].value is not None
    assert found[name].words.endswith("more test people would narrow it") == measured


def test_a_single_modality_has_nothing_to_lose() -> None:
    assert gates(shortfalls={})["missing_modality_drop"].passed


def test_the_outcome_is_written_beside_the_value() -> None:
    written = gates(ece=of(0.15, 0.1, 0.21))["ece"].to_json()
    assert (written["value"], written["bound"], written["passed"], written["verdict"]) == (
        0.15,
        0.2,
        False,
        "not enough evidence",
    )
