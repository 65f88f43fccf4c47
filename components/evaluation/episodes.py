"""Posteriors over time → episodes a person can read: from when to when, which emotion, how sure, flash or sustained.

A hidden Markov model smooths the posteriors: hidden states are the classes, a state lasts a geometric time whose mean
was learned from the training segments (self-transition 1 − 1/mean steps, Rabiner 1989, section IV.D), every other class
is equally likely to follow, and a step's posterior divided by the class prior serves as its likelihood (Bourlard and
Morgan 1994). The prior is uniform, since training balances the classes. Viterbi decoding gives the best path over the
whole clip, so this is the offline variant. A step without any modality gives no evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import BundleError

# An expression shorter than this is a flash. Micro-expressions last up to about 0.5 s, macro-expressions 0.5 to 4 s
# (Ekman 2003; Yan et al. 2013); at a 10 Hz grid one second separates the two with room for a step at either edge.
FLASH_S = 1.0
DEFAULT_MEAN_S = 2.0
LOG_FLOOR = 1e-8
STEP_SLACK = 1e-6

Kind = Literal["flash", "sustained"]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One emotion over `[onset_s, offset_s)`.

    `intensity` is the mean posterior of the emotion over its steps with evidence: how clearly it shows to the model, 0
    to 1. `kind` is "flash" when it lasts less than a second between two other episodes; one that touches an edge of
    the clip may have lasted longer than was recorded, so it counts as "sustained".
    """

    onset_s: float
    offset_s: float
    emotion: str
    intensity: float
    kind: Kind

    @property
    def duration_s(self) -> float:
        """Seconds from onset to offset."""
        return self.offset_s - self.onset_s

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One emotion gives way to another at `at_s`."""

    at_s: float
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Smoother:
    """The hidden Markov model's two learned numbers.

    `mean_duration_s` is how long an emotion lasts on average. `transition_weight` scales the cost of a change against
    the evidence: neighbouring steps look at overlapping sound and picture, so their posteriors are not the independent
    evidence that the model takes them for. Speech recognisers fit the same scale (Young et al., The HTK Book, 13.3).
    """

    mean_duration_s: float = DEFAULT_MEAN_S
    transition_weight: float = 1.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.mean_duration_s) or self.mean_duration_s <= 0:
            raise BundleError("a mean duration must be positive", where="smoothing", seen=self.mean_duration_s)
        if not np.isfinite(self.transition_weight) or self.transition_weight < 0:
            raise BundleError("a weight may not be negative", where="smoothing", seen=self.transition_weight)

    @classmethod
    def fit(cls, durations_s: Iterable[float]) -> Smoother:
        """From the durations of the training segments; 2 s when there are none."""
        values = [value for value in durations_s if value > 0]
        return cls(mean_duration_s=round(float(np.mean(values)), 6) if values else DEFAULT_MEAN_S)

    def to_json(self) -> dict[str, float]:
        """As a JSON value."""
        return {"mean_duration_s": self.mean_duration_s, "transition_weight": self.transition_weight}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Smoother:
        """From `to_json`'s value. Raises BundleError when it is none."""
        try:
            return cls(
                mean_duration_s=float(value["mean_duration_s"]), transition_weight=float(value["transition_weight"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("this is no smoother", where="smoothing", seen=str(error)) from error

    def path(self, posterior: NDArray[np.floating], valid: NDArray[np.bool_], rate_hz: float) -> NDArray[np.int64]:
        """The best sequence of classes (T,) for posteriors (T, K) and steps with evidence (T,). O(T·K) time."""
        steps, classes = posterior.shape
        if classes < 2 or not steps:
            return np.zeros(steps, dtype=np.int64)
        leave = 1.0 / max(self.mean_duration_s * rate_hz, 2.0)
        stay_cost = -np.log1p(-leave) * self.transition_weight
        leave_cost = -np.log(leave / (classes - 1)) * self.transition_weight
        evidence = np.log(np.maximum(posterior.astype(np.float64), LOG_FLOOR))
        evidence[~valid] = 0.0
        came_from = np.zeros((steps, classes), dtype=np.int64)
        score = evidence[0].copy()
        own = np.arange(classes)
        for step in range(1, steps):
            # All moves cost the same, so the best predecessor of another class is the best class overall.
            best = int(score.argmax())
            moved = score[best] - leave_cost
            stayed = score - stay_cost
            came_from[step] = np.where(stayed >= moved, own, best)
            score = np.maximum(stayed, moved) + evidence[step]
        path = np.empty(steps, dtype=np.int64)
        path[-1] = int(score.argmax())
        for step in range(steps - 1, 0, -1):
            path[step - 1] = came_from[step, path[step]]
        return path


def runs(values: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(value, first step, step after the last) of each run of equal values."""
    if not values.size:
        return []
    edges = np.concatenate([[0], np.nonzero(np.diff(values))[0] + 1, [values.size]])
    return [(int(values[a]), int(a), int(b)) for a, b in pairwise(edges)]


def kind_of(first: int, last: int, steps: int, rate_hz: float) -> Kind:
    """Flash or sustained, for steps `[first, last)` of a clip of `steps`."""
    inside = first > 0 and last < steps
    return "flash" if inside and (last - first) / rate_hz < FLASH_S - STEP_SLACK else "sustained"


def episodes_of_path(
    path: NDArray[np.int64],
    posterior: NDArray[np.floating],
    valid: NDArray[np.bool_],
    classes: Sequence[str],
    rate_hz: float,
) -> list[Episode]:
    """The runs of a path of classes (T,) as episodes; runs without any evidence are left out."""
    found = []
    for index, first, last in runs(path):
        seen = posterior[first:last, index][valid[first:last]]
        if seen.size:
            found.append(
                Episode(
                    onset_s=first / rate_hz,
                    offset_s=last / rate_hz,
                    emotion=classes[index],
                    intensity=float(seen.astype(np.float64).mean()),
                    kind=kind_of(first, last, path.size, rate_hz),
                )
            )
    return found


def find_episodes(
    posterior: NDArray[np.floating],
    valid: NDArray[np.bool_],
    classes: Sequence[str],
    rate_hz: float,
    smoother: Smoother,
) -> list[Episode]:
    """The episodes of one clip.

    Args:
        posterior: (T, K) calibrated step posteriors.
        valid: (T,) True where any modality is valid.
        classes: K names.
        rate_hz: steps a second.
        smoother: what training durations taught.
    """
    return episodes_of_path(smoother.path(posterior, valid, rate_hz), posterior, valid, classes, rate_hz)


def transitions(episodes: Sequence[Episode]) -> list[Transition]:
    """Where one episode gives way to the next; episodes with a gap between them change at the later onset."""
    return [
        Transition(at_s=after.onset_s, before=before.emotion, after=after.emotion)
        for before, after in pairwise(episodes)
        if before.emotion != after.emotion
    ]
