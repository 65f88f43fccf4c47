"""The conditions that a version must meet on the test split before it may be promoted, and the evidence.

A gate is one function of the evidence and one line of `GATES`. Its bound is the setting of that name in the section
`gates` (`components/contracts/config/evaluate.py`): `max_…` bounds the value from above, `min_…` from below. Where the
value has an interval, the whole of it must be on the right side of the bound; an interval that reaches across the bound
is not enough evidence, and does not pass.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from components.contracts.config import Gates
from components.evaluation.intervals import Interval, rounded
from components.evaluation.versions.comparison import Shortfall


class Verdict(StrEnum):
    """The outcome of a gate; only `PASSED` opens it."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "not enough evidence"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition: the measured value, its bound, the outcome, and all of it in words."""

    name: str
    value: float | None
    bound: float
    verdict: Verdict
    words: str

    @property
    def passed(self) -> bool:
        """Whether it is open."""
        return self.verdict is Verdict.PASSED

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "name": self.name,
            "value": rounded(self.value),
            "bound": self.bound,
            "passed": self.passed,
            "verdict": self.verdict.value,
            "words": self.words,
        }


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures that gates judge.

    Attributes:
        level: "clip" or "step", the level of the figures.
        macro_f1: with every modality that a clip has.
        majority_f1: of always answering the most frequent class of the training split.
        ece: after calibration; None without a labelled clip.
        shortfalls: modality → how far the answer without it falls short of what one of the others gives alone.
        figures: everything else that was measured, as in `metrics.json`.
    """

    level: str
    macro_f1: Interval
    majority_f1: float
    ece: Interval | None
    shortfalls: Mapping[str, Shortfall]
    figures: Mapping[str, Any]


# What a gate measures: `Evidence`, or two versions side by side (`against.py`).
Measured = TypeVar("Measured")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The value that a gate measured, also in words; None for one that could not be measured, which passes no gate.

    `interval` is the value's own; without one the value alone decides.
    """

    value: float | None
    words: str
    interval: Interval | None = None


def gain_over_majority(evidence: Evidence, bound: float) -> Reading:
    """The macro-F1 minus that of the majority baseline."""
    macro_f1, majority_f1 = evidence.macro_f1, evidence.majority_f1
    if macro_f1.value is None or macro_f1.low is None or macro_f1.high is None:
        return Reading(value=None, words="unknown: an interval needs labelled test clips of at least two people")
    gain = Interval(
        value=macro_f1.value - majority_f1, low=macro_f1.low - majority_f1, high=macro_f1.high - majority_f1
    )
    return Reading(
        value=gain.value,
        interval=gain,
        words=(
            f"{evidence.level} macro-F1 is {macro_f1} against {majority_f1:.3f} for always answering the most frequent "
            f"class: a gain of {gain}, wanted ≥ {bound:g}"
        ),
    )


def ece(evidence: Evidence, bound: float) -> Reading:
    """The expected calibration error."""
    if evidence.ece is None or evidence.ece.value is None:
        return Reading(value=None, words="unknown: no labelled test clip")
    words = f"{evidence.level} confidence is off by {evidence.ece} on average after calibration, wanted ≤ {bound:g}"
    return Reading(value=evidence.ece.value, interval=evidence.ece, words=words)


def missing_modality_drop(evidence: Evidence, bound: float) -> Reading:
    """How far the answer without a modality falls short of what one of the remaining modalities gives alone, for the
    worst one: what no remaining modality can know is not held against the version."""
    measured = {name: fall for name, fall in evidence.shortfalls.items() if fall.interval.value is not None}
    if not measured:
        return Reading(value=0.0, words="one modality only: nothing can be missing")
    worst = max(measured, key=lambda name: measured[name].interval.value or 0.0)
    fall = measured[worst]
    lies = fall.interval.sided("below", "above")
    words = (
        f"without {worst}, macro-F1 is {lies} what {fall.alone} alone gives on the same clips, wanted ≤ {bound:g} below"
    )
    return Reading(value=fall.interval.value, interval=fall.interval, words=words)


# Setting of the section `gates` → the function that measures what it bounds, in the order of gates.json.
GATES: dict[str, Callable[[Evidence, float], Reading]] = {
    "min_gain_over_majority": gain_over_majority,
    "max_ece": ece,
    "max_missing_modality_drop": missing_modality_drop,
}
HOLDS: dict[str, Callable[[float, float], bool]] = {"min": operator.ge, "max": operator.le}


def judge(config: Gates, evidence: Evidence) -> list[Gate]:
    """All gates of one evaluation, each against its bound in `config`."""
    return [gate_of(setting, getattr(config, setting), GATES[setting], evidence) for setting in GATES]


def passed(gates: Sequence[Gate]) -> bool:
    """Whether every gate is open."""
    return all(gate.passed for gate in gates)


def gate_of(setting: str, bound: float, measure: Callable[[Measured, float], Reading], evidence: Measured) -> Gate:
    """One gate: what `measure` reads from the evidence, against the bound of a setting `max_…` or `min_…`."""
    kind, _, name = setting.partition("_")
    reading = measure(evidence, bound)
    verdict, words = _verdict(reading, bound, HOLDS[kind]), reading.words
    if verdict is Verdict.UNDECIDED and reading.value is not None:
        words += "; not enough evidence: the interval reaches across this bound, and more test people would narrow it"
    return Gate(name=name, value=reading.value, bound=bound, verdict=verdict, words=words)


def _verdict(reading: Reading, bound: float, holds: Callable[[float, float], bool]) -> Verdict:
    if reading.value is None:
        return Verdict.UNDECIDED
    if reading.interval is None:
        return Verdict.PASSED if holds(reading.value, bound) else Verdict.FAILED
    ends = reading.interval.low, reading.interval.high
    if None in ends:
        return Verdict.UNDECIDED
    held = {holds(end, bound) for end in ends if end is not None}
    if len(held) > 1:
        return Verdict.UNDECIDED
    return Verdict.PASSED if held.pop() else Verdict.FAILED
