"""What a version must show on the test split before it may be promoted, and the evidence that it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.contracts.config import Gates
from components.evaluation.intervals import Interval, rounded


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition: what was seen, what was wanted, and in words."""

    name: str
    value: float | None
    bound: float
    passed: bool
    words: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**asdict(self), "value": rounded(self.value)}


def judge(
    config: Gates, *, level: str, macro_f1: Interval, majority_f1: float, ece: float | None, drops: dict[str, float]
) -> list[Gate]:
    """All gates of one evaluation.

    Args:
        config: the bounds.
        level: "clip" or "step", what the figures are of.
        macro_f1: with every modality that a clip has.
        majority_f1: of always answering the most frequent class of the training split.
        ece: after calibration.
        drops: modality → macro-F1 lost when it alone is missing, on the same clips.
    """
    return [
        _gain(config.min_gain_over_majority, level, macro_f1, majority_f1),
        _ece(config.max_ece, level, ece),
        _drop(config.max_missing_modality_drop, drops),
    ]


def passed(gates: Sequence[Gate]) -> bool:
    """Whether every gate is open."""
    return all(gate.passed for gate in gates)


def _gain(bound: float, level: str, macro_f1: Interval, majority_f1: float) -> Gate:
    name = "gain_over_majority"
    if macro_f1.low is None:
        return Gate(
            name=name,
            value=None,
            bound=bound,
            passed=False,
            words="unknown: an interval needs labelled test clips of at least two people",
        )
    gain = macro_f1.low - majority_f1
    return Gate(
        name=name,
        value=gain,
        bound=bound,
        passed=gain >= bound,
        words=(
            f"{level} macro-F1 is at least {macro_f1.low:.3f} (lower end of the interval) against {majority_f1:.3f} "
            f"for always answering the most frequent class: a gain of {gain:.3f}, wanted ≥ {bound:g}"
        ),
    )


def _ece(bound: float, level: str, ece: float | None) -> Gate:
    if ece is None:
        return Gate(name="ece", value=None, bound=bound, passed=False, words="unknown: no labelled test clip")
    words = f"{level} confidence is off by {ece:.3f} on average after calibration, wanted ≤ {bound:g}"
    return Gate(name="ece", value=ece, bound=bound, passed=ece <= bound, words=words)


def _drop(bound: float, drops: dict[str, float]) -> Gate:
    name = "missing_modality_drop"
    if not drops:
        return Gate(name=name, value=0.0, bound=bound, passed=True, words="one modality only: nothing can be missing")
    worst = max(drops, key=lambda modality: drops[modality])
    words = f"without {worst}, macro-F1 falls by {drops[worst]:.3f}, wanted ≤ {bound:g}"
    return Gate(name=name, value=drops[worst], bound=bound, passed=drops[worst] <= bound, words=words)
