"""Posteriors over time → episodes a person can read: from when to when, which emotion, how sure, flash or sustained.

A decoder (`semi_markov.py`, `thresholds.py`) chooses the class of each step; the runs of its path are the episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from components.inference.durations import FLASH_S, STEP_SLACK

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


class Decoder(Protocol):
    """Chooses a class for each step."""

    def path(self, posterior: NDArray[np.floating], valid: NDArray[np.bool_], rate_hz: float) -> NDArray[np.int64]:
        """Classes (T,) for posteriors (T, K) and steps with evidence (T,)."""
        ...


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
    episodes = []
    for index, first, last in runs(path):
        observed = posterior[first:last, index][valid[first:last]]
        if observed.size:
            episodes.append(
                Episode(
                    onset_s=first / rate_hz,
                    offset_s=last / rate_hz,
                    emotion=classes[index],
                    intensity=float(observed.astype(np.float64).mean()),
                    kind=kind_of(first, last, path.size, rate_hz),
                )
            )
    return episodes


def find_episodes(
    posterior: NDArray[np.floating],
    valid: NDArray[np.bool_],
    classes: Sequence[str],
    rate_hz: float,
    decoder: Decoder,
) -> list[Episode]:
    """The episodes of one clip.

    Args:
        posterior: (T, K) calibrated step posteriors.
        valid: (T,) True where any modality is valid.
        classes: K names.
        rate_hz: steps per second.
        decoder: chooses the class of each step.
    """
    return episodes_of_path(decoder.path(posterior, valid, rate_hz), posterior, valid, classes, rate_hz)


def transitions(episodes: Sequence[Episode]) -> list[Transition]:
    """Where one episode gives way to the next; episodes with a gap between them change at the later onset."""
    return [
        Transition(at_s=after.onset_s, before=before.emotion, after=after.emotion)
        for before, after in pairwise(episodes)
        if before.emotion != after.emotion
    ]
