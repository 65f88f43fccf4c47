from __future__ import annotations

import json

import pytest

from bench.report import HEADING, Comparison, Figure, Skipped, Spread, duration, table, to_json


def row(**fields: object) -> Comparison:
    defaults: dict[str, object] = {
        "what": "a step",
        "unit": "step",
        "baseline": Figure(name="plain", amount=0.010),
        "ours": Figure(name="ours", amount=0.0105, detail="2 MiB"),
        "kind": "cost",
        "ratio": Spread(median=1.05, low=1.01, high=1.2),
        "pairs": 9,
    }
    return Comparison(**{**defaults, **fields})  # type: ignore[arg-type]


def test_a_spread_is_median_and_quartiles() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Spread(median=3.0, low=2.0, high=4.0)


@pytest.mark.parametrize(
    ("kind", "goal", "met"),
    [("cost", 1.1, True), ("cost", 1.0, False), ("gain", 1.0, True), ("gain", 50.0, False), ("cost", None, None)],
)
def test_a_cost_is_bounded_from_above_and_a_gain_from_below(kind: str, goal: float | None, met: bool | None) -> None:
    assert row(kind=kind, goal=goal).met is met


def test_the_table_is_markdown_with_every_figure() -> None:
    outcomes = [row(goal=1.1, note="mind the gap"), Skipped(what="on a GPU", reason="no CUDA here")]
    lines = table(outcomes).splitlines()
    assert lines[:2] == list(HEADING)
    assert lines[2] == (
        "| a step (1) | plain: 10 ms per step | ours: 10.5 ms per step, 2 MiB "
        "| 1.050× the time [1.010, 1.200], 9 | ≤ 1.10×: met |"
    )
    assert lines[3] == "| on a GPU | – | – | skipped: no CUDA here | – |"
    assert lines[-1] == "(1) mind the gap"
    assert {line.count("|") for line in lines[:4]} == {6}


def test_a_missed_goal_is_called_missed() -> None:
    assert "| ≥ 50×: missed |" in table([row(kind="gain", goal=50.0)])


def test_as_json() -> None:
    first, second = json.loads(json.dumps(to_json([row(goal=1.1), Skipped(what="x", reason="y")])))
    assert first["ratio"] == {"median": 1.05, "low": 1.01, "high": 1.2}
    assert first["met"] is True
    assert second == {"what": "x", "reason": "y"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(2e-5, "20 µs"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (12345.6, "12,346 s")]
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
