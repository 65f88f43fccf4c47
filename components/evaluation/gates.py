"""The conditions that a version must meet on the test split before it may be promoted, and the evidence.

A gate is one function of the evidence and one line of `GATES`. Its bound is the setting of that name in the section
`gates` (`components/contracts/config/evaluate.py`): `max_…` bounds the value from above, `min_…` from below.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.contracts.config import Gates
from components.evaluation.intervals import Interval, rounded


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition: the measured value, its bound, and both in words."""

    name: str
    value: float | None
    bound: float
    passed: bool
    words: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**asdict(self), "value": rounded(self.value)}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures that gates judge.

    Attributes:
        level: "clip" or "step", the level of the figures.
        macro_f1: with every modality that a clip has.
        majority_f1: of always answering the most frequent class of the training split.
        ece: after calibration.
        drops: modality → macro-F1 lost when it alone is missing, on the same clips.
        figures: everything else that was measured, as in `metrics.json`.
    """

    level: str
    macro_f1: Interval
    majority_f1: float
    ece: float | None
    drops: Mapping[str, float]
    figures: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The value that a gate measured, also in words; None, a value that could not be measured, passes no gate."""

    value: float | None
    words: str


def gain_over_majority(evidence: Evidence, bound: float) -> Reading:
    """The lower end of the macro-F1 interval minus the majority baseline's macro-F1."""
    macro_f1, majority_f1 = evidence.macro_f1, evidence.majority_f1
    if macro_f1.low is None:
        words = "unknown: an interval needs labelled test clips of at least two people"
        return Reading(value=None, words=words)
    gain = macro_f1.low - majority_f1
    return Reading(
        value=gain,
        words=(
            f"{evidence.level} macro-F1 is at least {macro_f1.low:.3f} (lower end of the interval) against "
            f"{majority_f1:.3f} for always answering the most frequent class: a gain of {gain:.3f}, wanted ≥ {bound:g}"
        ),
    )


def ece(evidence: Evidence, bound: float) -> Reading:
    """The expected calibration error."""
    if evidence.ece is None:
        return Reading(value=None, words="unknown: no labelled test clip")
    words = f"{evidence.level} confidence is off by {evidence.ece:.3f} on average after calibration, wanted ≤ {bound:g}"
    return Reading(value=evidence.ece, words=words)


def missing_modality_drop(evidence: Evidence, bound: float) -> Reading:
    """The macro-F1 lost when one modality is missing, for the worst one."""
    drops = evidence.drops
    if not drops:
        return Reading(value=0.0, words="one modality only: nothing can be missing")
    worst = max(drops, key=lambda modality: drops[modality])
    words = f"without {worst}, macro-F1 falls by {drops[worst]:.3f}, wanted ≤ {bound:g}"
    return Reading(value=drops[worst], words=words)


# Setting of the section `gates` → the function that measures what it bounds, in the order of gates.json.
GATES: dict[str, Callable[[Evidence, float], Reading]] = {
    "min_gain_over_majority": gain_over_majority,
    "max_ece": ece,
    "max_missing_modality_drop": missing_modality_drop,
}
HOLDS: dict[str, Callable[[float, float], bool]] = {"min": operator.ge, "max": operator.le}


def judge(config: Gates, evidence: Evidence) -> list[Gate]:
    """All gates of one evaluation, each against its bound in `config`."""
    return [_gate(setting, getattr(config, setting), evidence) for setting in GATES]


def passed(gates: Sequence[Gate]) -> bool:
    """Whether every gate is open."""
    return all(gate.passed for gate in gates)


def _gate(setting: str, bound: float, evidence: Evidence) -> Gate:
    kind, _, name = setting.partition("_")
    reading = GATES[setting](evidence, bound)
    return Gate(
        name=name,
        value=reading.value,
        bound=bound,
        passed=reading.value is not None and HOLDS[kind](reading.value, bound),
        words=reading.words,
    )
