"""How long an emotion lasts: brief ones and moods have one distribution each, so that both keep their mass.

    P(D = d) = share · flash(d) + (1 − share) · mood(d)

`flash` is log-normal below `FLASH_S`; a mood lasts `FLASH_S` and then ends with a constant hazard (geometric, as in a
plain hidden Markov model). A single distribution cannot do both: the geometric that fits moods gives a flash of half a
second next to no probability, and the one that fits flashes splits moods.

A decoder needs the hazard h(a) = P(D = a | D ≥ a) of each age a in steps. Beyond `FLASH_S` it is constant, so
ages need not be counted further: the state of a decoder stays small, and a clip that ends within an episode needs no
rule of its own (its probability is the survivor function; Guédon 2003, "Estimating hidden semi-Markov chains from
discrete sequences").
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import BundleError

# An expression shorter than this is a flash. Micro-expressions last up to about 0.5 s, macro-expressions 0.5 to 4 s
# (Ekman 2003; Yan et al. 2013); at a 10 Hz grid one second separates the two with room for a step at either edge.
FLASH_S = 1.0
STEP_SLACK = 1e-6
# A few observed flashes do not determine how much their lengths differ.
ENOUGH_FLASHES = 5


class LabelRun(NamedTuple):
    """A stretch of one label: its seconds, and whether its begin and its end lie inside the clip."""

    seconds: float
    begins: bool
    ends: bool


@dataclass(frozen=True, kw_only=True)
class Durations:
    """The mixture's four numbers; the defaults apply where a corpus has no change inside a clip.

    Attributes:
        flash_share: of the episodes that begin, those that will be flashes; in (0, 1).
        flash_median_s, flash_spread: median, and standard deviation of the logarithm, of a flash's seconds.
        mood_mean_s: mean seconds of a mood, above `FLASH_S`.
    """

    flash_share: float = 0.2
    flash_median_s: float = 0.4
    flash_spread: float = 0.4
    mood_mean_s: float = 4.0

    def __post_init__(self) -> None:
        bounds = {
            "flash_share": (0.0, 1.0),
            "flash_median_s": (0.0, FLASH_S),
            "flash_spread": (0.0, math.inf),
            "mood_mean_s": (FLASH_S, math.inf),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low < value < high:
                raise BundleError(
                    "a duration is out of bounds", where=f"smoothing.{name}", seen=value, allowed=f"{low} … {high}"
                )

    @classmethod
    def fit(cls, runs: Iterable[LabelRun]) -> Durations:
        """From the labelled stretches of the training clips.

        Most are cut off by an edge of their clip (censored). A stretch that began with the clip counts as a mood of
        unknown age; one that began inside it is a flash when it ended below `FLASH_S`, a mood when it reached it, and
        left out when the clip ended before that was decided. The mean of a mood is the observed time of moods, each
        beyond its first `FLASH_S`, divided by the number of observed ends: the maximum-likelihood estimate of a
        constant hazard under censoring (Kalbfleisch and Prentice 2002, section 3.2).
        """
        flashes, moods, ended = array("d"), 0, 0
        moods_s = unknown_s = 0.0
        for run in runs:
            if not run.begins:
                unknown_s += run.seconds
                ended += run.ends
            elif run.seconds >= FLASH_S - STEP_SLACK:
                moods += 1
                moods_s += run.seconds - FLASH_S
                ended += run.ends
            elif run.ends:
                flashes.append(run.seconds)
        if not flashes and not moods:
            return cls()
        observed_s = moods_s + unknown_s
        # Laplace's rule: no corpus is large enough to exclude an event.
        share = (len(flashes) + 1) / (len(flashes) + moods + 2)
        logs = np.log(flashes) if len(flashes) >= ENOUGH_FLASHES else np.log([cls.flash_median_s])
        return cls(
            flash_share=round(share, 6),
            flash_median_s=round(min(float(np.exp(np.median(logs))), 0.9 * FLASH_S), 6),
            flash_spread=round(max(float(logs.std()), 0.1), 6) if logs.size > 1 else cls.flash_spread,
            mood_mean_s=round(FLASH_S + max(observed_s, FLASH_S) / ended, 6) if ended else cls.mood_mean_s,
        )

    def hazard(self, rate_hz: float) -> NDArray[np.float64]:
        """(A,) P(D = a | D ≥ a) for ages of a = 1 … A steps, A the first that is not a flash; older ones are as A.

        A is at least 2, of equal hazard where a step is too long for a flash.
        """
        oldest = math.ceil(FLASH_S * rate_hz - STEP_SLACK)
        leave = 1.0 / (1.0 + (self.mood_mean_s - FLASH_S) * rate_hz)
        if oldest < 2:
            return np.full(2, leave)
        edges = (np.arange(oldest) + 0.5) / rate_hz
        below = np.array([_normal(math.log(edge / self.flash_median_s) / self.flash_spread) for edge in edges])
        flash = np.diff(below) / (below[-1] - below[0])
        alive = flash[::-1].cumsum()[::-1]
        share = self.flash_share
        return np.append(share * flash / (share * alive + 1.0 - share), leave)

    def to_json(self) -> dict[str, float]:
        """As a JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Durations:
        """From `to_json`'s value. Raises BundleError when it is not one."""
        try:
            return cls(**{name: float(value[name]) for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("not durations of a smoother", where="smoothing.durations", seen=str(error)) from error


def label_runs(labels: NDArray[np.int64], rate_hz: float) -> Sequence[LabelRun]:
    """The stretches of equal label of one clip (T,); unlabelled steps inside a stretch do not break it."""
    labelled = np.nonzero(labels >= 0)[0]
    if not labelled.size:
        return []
    starts = [0, *(np.nonzero(np.diff(labels[labelled]))[0] + 1).tolist()]
    return [
        LabelRun(
            seconds=float(labelled[stop - 1] + 1 - labelled[start]) / rate_hz,
            begins=start > 0,
            ends=stop < labelled.size,
        )
        for start, stop in zip(starts, [*starts[1:], labelled.size], strict=True)
    ]


def _normal(deviate: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-deviate / math.sqrt(2.0))
