"""A version and its repetition side by side. Pure functions of what was recorded and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch import Tensor

from components.tracking.names import flatten

ABSENT = "–"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How the tensors of two models compare.

    Attributes:
        tensors: their number, over both models.
        largest: tensor that differs → the largest absolute difference of a weight; infinite where only one model has
            it, the shapes differ, or one of them has a weight that is not a number.
    """

    tensors: int
    largest: Mapping[str, float]

    @property
    def equal(self) -> bool:
        """Whether every bit is equal."""
        return not self.largest

    @property
    def words(self) -> str:
        """In a sentence."""
        if self.equal:
            return f"The weights are bit-equal: {self.tensors} of {self.tensors} tensors."
        name = max(self.largest, key=lambda key: self.largest[key])
        return (
            f"The weights differ in {len(self.largest)} of {self.tensors} tensors, by {self.largest[name]:.2g} at most "
            f"({name})."
        )


def compare_weights(recorded: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> Weights:
    """Compares bit by bit: zeros of different sign differ, equal NaNs do not."""
    names = sorted(recorded.keys() | again.keys())
    largest = {name: _difference(recorded.get(name), again.get(name)) for name in names}
    return Weights(tensors=len(names), largest={name: value for name, value in largest.items() if value is not None})


def _difference(recorded: Tensor | None, again: Tensor | None) -> float | None:
    if recorded is None or again is None or (recorded.shape, recorded.dtype) != (again.shape, again.dtype):
        return float("inf")
    if recorded.numpy().tobytes() == again.numpy().tobytes():
        return None
    difference = float((recorded.double() - again.double()).abs().max())
    return float("inf") if torch.tensor(difference).isnan() else difference


def differences(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(name, recorded value, value here) of what differs, in order of name; `ABSENT` for one that is not there."""
    names = sorted(recorded.keys() | here.keys())
    values = ((name, recorded.get(name, ABSENT), here.get(name, ABSENT)) for name in names)
    return [row for row in values if row[1] != row[2]]


def settings(text: str) -> dict[str, str]:
    """The values of a `params.yaml` as text, under dotted names."""
    return {name: str(value) for name, value in flatten(yaml.safe_load(text) or {}, separator=".").items()}


def moved(
    recorded: Mapping[str, Any], again: Mapping[str, Any], names: Mapping[str, str]
) -> list[tuple[str, str, str, str]]:
    """(figure, recorded with its interval, again, by how much it moved), of the figures that both have.

    Args:
        recorded, again: `metrics.json` of each; `level` names the figures that count.
        names: key of a figure → its name.
    """
    level = recorded.get("level", "clip")
    before, after = recorded.get(level, {}), again.get(level, {})
    shared = {key: words for key, words in names.items() if _has_value(before, key) and _has_value(after, key)}
    changes = {key: after[key]["value"] - before[key]["value"] for key in shared}
    return [
        (words, _figure(before[key]), f"{after[key]['value']:.4f}", f"{changes[key]:+.4f}")
        for key, words in shared.items()
    ]


def _has_value(figures: Mapping[str, Any], key: str) -> bool:
    return figures.get(key, {}).get("value") is not None


def _figure(figure: Mapping[str, Any]) -> str:
    value = f"{figure['value']:.4f}"
    low, high = figure.get("low"), figure.get("high")
    return value if low is None or high is None else f"{value} [{low:.3f}, {high:.3f}]"
