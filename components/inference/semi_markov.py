"""A hidden semi-Markov model over step posteriors: hidden states are the classes, each with an explicit duration.

The state is (class, age): an episode of age a ends with the learned hazard h(a) and any other class follows with equal
chance, or it grows by a step (the elapsed-time form of Ferguson's model; Rabiner 1989, section IV.D; Yu 2010, "Hidden
semi-Markov models", section 2). The first episode of a clip is assumed to be a mood under way. A step's posterior
stands for its likelihood (Bourlard and Morgan 1994; the prior is uniform, since training balances the classes), raised
to a weight below or above 1: neighbouring steps share sound and picture, so their posteriors are not the independent
evidence that the model assumes (the acoustic scale of Young et al., The HTK Book, 13.3). A step without any modality
gives no evidence.

* Offline, `path`: the best sequence of states given the whole clip (Viterbi).
* Causal, `causal`: the most probable class of a step given the steps up to `lag_s` after it (forward algorithm; with a
  lag, fixed-lag smoothing: Anderson and Moore 1979, chapter 7). The path of a stream is independent of later steps
  only if the posteriors are, as those of a causal model (`model.causal`).

O(K · A) per step for A ages (10 at 10 Hz), once more for each step of the lag. Legend: T steps, K classes, A ages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import BundleError
from components.inference.durations import Durations

POSTERIOR_FLOOR = 1e-8

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Smoother:
    """Fitted parameters: durations, and the weight of a step's evidence offline and in a stream."""

    durations: Durations = field(default_factory=Durations)
    weight: float = 1.0
    causal_weight: float = 1.0
    lag_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("weight", "causal_weight"):
            if not np.isfinite(getattr(self, name)) or getattr(self, name) <= 0:
                raise BundleError("a weight must be positive", where=f"smoothing.{name}", seen=getattr(self, name))
        if not np.isfinite(self.lag_s) or self.lag_s < 0:
            raise BundleError("a lag cannot be negative", where="smoothing.lag_s", seen=self.lag_s)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "durations": self.durations.to_json(),
            "weight": self.weight,
            "causal_weight": self.causal_weight,
            "lag_s": self.lag_s,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Smoother:
        """From `to_json`'s value. Raises BundleError when it is not one."""
        try:
            return cls(
                durations=Durations.from_json(value["durations"]),
                **{name: float(value[name]) for name in ("weight", "causal_weight", "lag_s")},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("not a smoother", where="smoothing", seen=str(error)) from error

    def path(self, posterior: Floats, valid: NDArray[np.bool_], rate_hz: float) -> NDArray[np.int64]:
        """The best sequence of classes (T,) for posteriors (T, K) and steps with evidence (T,)."""
        steps, classes = posterior.shape
        if classes < 2 or not steps:
            return np.zeros(steps, dtype=np.int64)
        hazard = self.durations.hazard(rate_hz)
        with np.errstate(divide="ignore"):  # where no length allows a flash its probability is 0
            leave, stay = np.log(hazard), np.log1p(-hazard)
        evidence = self.weight * np.log(np.maximum(posterior.astype(np.float64), POSTERIOR_FLOOR))
        evidence[~valid] = 0.0
        # Back-pointers: at which age each class was best left, from which class each was best entered, and whether an
        # old episode was old already.
        left_age = np.zeros((steps, classes), dtype=np.int32)
        came_from = np.zeros((steps, classes), dtype=np.int32)
        was_old = np.zeros((steps, classes), dtype=bool)
        score = np.full((classes, hazard.size), -np.inf)
        score[:, -1] = evidence[0]
        own = np.arange(classes)
        for step in range(1, steps):
            leaving = score + leave
            left_age[step] = leaving.argmax(1)
            left = leaving[own, left_age[step]]
            best, second = np.argsort(-left, kind="stable")[:2]
            came_from[step] = np.where(own == best, second, best)
            grown = score + stay
            was_old[step] = grown[:, -1] >= grown[:, -2]
            score[:, 1:] = grown[:, :-1]
            score[:, -1] = np.maximum(grown[:, -2], grown[:, -1])
            score[:, 0] = left[came_from[step]] - np.log(classes - 1)
            score += evidence[step][:, None]
        path = np.empty(steps, dtype=np.int64)
        state, age = divmod(int(score.argmax()), hazard.size)
        for step in range(steps - 1, -1, -1):
            path[step] = state
            if age == 0:
                state = int(came_from[step, state])
                age = int(left_age[step, state])
            elif age < hazard.size - 1 or not was_old[step, state]:
                age -= 1
        return path

    @property
    def causal(self) -> Causal:
        """The decoder of streams, with the same parameters."""
        return Causal(self)


@dataclass(frozen=True)
class Causal:
    """The causal variant: the class of a step depends on steps up to `lag_s` after it."""

    smoother: Smoother

    def start(self, classes: int, rate_hz: float) -> Stream:
        """A stream that takes one step at a time."""
        return Stream(self.smoother, classes, rate_hz)

    def path(self, posterior: Floats, valid: NDArray[np.bool_], rate_hz: float) -> NDArray[np.int64]:
        """The classes (T,) that a stream returns for posteriors (T, K)."""
        stream = self.start(posterior.shape[1], rate_hz)
        labels = [stream.step(row, bool(has_evidence)) for row, has_evidence in zip(posterior, valid, strict=True)]
        return np.array([label for label in labels if label is not None] + stream.finish(), dtype=np.int64)


class Stream:
    """Decodes one clip step by step, in constant memory: the current belief, and the steps of the lag."""

    def __init__(self, smoother: Smoother, classes: int, rate_hz: float) -> None:
        self._weight = smoother.causal_weight
        self._hazard = smoother.durations.hazard(rate_hz)
        self._others = max(classes - 1, 1)
        self._lag = round(smoother.lag_s * rate_hz)
        # The belief (K, A) about the next step: a clip begins with a mood under way.
        self._ahead = np.zeros((classes, self._hazard.size))
        self._ahead[:, -1] = 1.0 / classes
        # (belief, likelihood) of the steps that have no label yet, oldest first.
        self._open: deque[tuple[NDArray[np.float64], NDArray[np.float64]]] = deque()

    def step(self, posterior: Floats, valid: bool) -> int | None:
        """Takes the next posterior (K,); returns the class of the step `lag_s` ago, None before the first."""
        likelihood = np.ones(posterior.size)
        if valid:
            likelihood = np.maximum(posterior.astype(np.float64), POSTERIOR_FLOOR) ** self._weight
        belief = self._ahead * likelihood[:, None]
        belief /= belief.sum()
        self._open.append((belief, likelihood))
        self._ahead = self._advance(belief)
        return self._label() if len(self._open) > self._lag else None

    def finish(self) -> list[int]:
        """The classes of the steps within the lag, from the steps so far."""
        return [self._label() for _ in range(len(self._open))]

    def _advance(self, belief: NDArray[np.float64]) -> NDArray[np.float64]:
        """The belief (K, A) about the next step before its evidence."""
        left = belief @ self._hazard
        grown = belief * (1.0 - self._hazard)
        ahead = np.empty_like(belief)
        ahead[:, 0] = (left.sum() - left) / self._others
        ahead[:, 1:] = grown[:, :-1]
        ahead[:, -1] += grown[:, -1]
        return ahead

    def _label(self) -> int:
        """The most probable class of the oldest open step, given all steps since."""
        belief, _ = self._open.popleft()
        future = np.ones_like(belief)
        for _, likelihood in reversed(self._open):
            weighed = future * likelihood[:, None]
            entered = (weighed[:, 0].sum() - weighed[:, 0]) / self._others
            older = np.concatenate([weighed[:, 1:], weighed[:, -1:]], axis=1)
            future = (1.0 - self._hazard) * older + self._hazard * entered[:, None]
            future /= future.max()
        return int((belief * future).sum(1).argmax())
