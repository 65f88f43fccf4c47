"""The section `tune`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from components.contracts.config.base import Section

Choice = bool | int | float | str


class Range(Section):
    """The values of a setting from `low` to `high`, both included."""

    low: float
    """The least value that is tried."""

    high: float
    """The greatest value that is tried."""

    log: bool = False
    """Whether to look evenly over orders of magnitude, which needs positive bounds."""

    @model_validator(mode="after")
    def _is_an_interval(self) -> Range:
        if not self.low < self.high:
            raise ValueError("low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError("with log, low must be greater than 0")
        return self


class Tune(Section):
    """The search for better settings, `mer tune`. No stage depends on this section."""

    ranges: Mapping[str, Range | tuple[Choice, ...]] = Field(default_factory=dict)
    """Setting of `model` or `train` → where to look: `{low: 1.0e-4, high: 1.0e-2, log: true}`, or a list of values.
    Whole numbers stay whole; others are rounded to three digits."""

    trials: int = Field(20, gt=0)
    """Trainings, the first of them with the present settings where these lie within the ranges. More trials than an
    earlier search had go on from its results."""

    at_once: int = Field(2, gt=0)
    """Trials at a time, each on one core."""

    score: Literal["clip_macro_f1", "clip_accuracy", "step_macro_f1", "valence_ccc", "arousal_ccc"] = "clip_macro_f1"
    """What is made as high as possible: a score of the averaged weights on the calibration split."""

    first_epochs: int = Field(5, gt=0)
    """Epochs that every trial gets before it may be stopped early (ASHA, arXiv 1810.05934)."""

    reduction: float = Field(3.0, gt=1)
    """At `first_epochs` epochs, and at every multiple by this factor, only the best one in so many trials goes on."""
