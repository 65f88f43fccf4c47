"""Whether modalities contradict each other, moment by moment; a clip is as contradictory as its worst moment.

Three steps: each modality's own *opinion* of a moment, averaged over a short window; the *conflict* of the worst pair
of opinions (how far they exclude each other); and its *rarity*: the share of ordinary clips of unseen people that
conflict less even at their worst moment. Only the rarity is reported to people: the modalities of ordinary clips differ
as well, more so where their heads are weak (`evaluation/fitting.py` takes what is usual from the calibration split). A
clip much longer than those has more moments, so more chances.

Legend: M modalities, T steps, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import BundleError

Floats = NDArray[np.float64]
Posterior = NDArray[np.floating]

# Opinions of a moment are averaged over this much time, so that one noisy step does not dominate: two to four
# syllables, or the onset and apex of an expression.
WINDOW_S = 1.0
# Of the window, the share of steps that must be valid for a modality to have an opinion at its centre.
MIN_WINDOW_SHARE = 0.25
MAX_KNOTS = 256
DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Rarity:
    """Conflict → the share of ordinary clips that conflict less, 0 to n / (n + 1): continuous, never falling.

    1 − rarity is a conformal p-value (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005, section
    2.2; split conformal: Papadopoulos et al. 2002): of ordinary clips exchangeable with the n it was fitted on, at most
    a share 1 − r reaches the rarity r. Between the knots it is interpolated from below, which keeps that promise.

    Attributes:
        conflict: (J,) strictly increasing knots in [0, 1]; rarity: (J,) not falling. Both empty without ordinary clips
            to compare with: then nothing is rare.
    """

    conflict: tuple[float, ...] = ()
    rarity: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        first, second = np.asarray(self.conflict), np.asarray(self.rarity)
        if first.shape != second.shape or (np.diff(first) <= 0).any() or (np.diff(second) < 0).any():
            raise BundleError("the knots must rise", where="calibration.rarity", seen=f"{first.size} and {second.size}")
        if not np.isfinite([*self.conflict, *self.rarity]).all() or not ((second >= 0) & (second <= 1)).all():
            raise BundleError("the knots must lie in [0, 1]", where="calibration.rarity", seen=self.rarity)

    @classmethod
    def fit(cls, ordinary: Sequence[float] | Floats) -> Rarity:
        """From the conflicts of ordinary clips; more than 256 different ones are thinned evenly."""
        values = np.round(np.sort(np.asarray(ordinary, dtype=np.float64)), DIGITS)
        if not values.size:
            return cls()
        knots, lower = np.unique(values, return_index=True)
        share = lower / (values.size + 1)
        if knots.size > MAX_KNOTS:
            kept = np.unique(np.linspace(0, knots.size - 1, MAX_KNOTS).round().astype(int))
            knots, share = knots[kept], share[kept]
        if knots[-1] < 1.0:
            knots, share = np.append(knots, 1.0), np.append(share, values.size / (values.size + 1))
        return cls(conflict=tuple(knots.tolist()), rarity=tuple(np.round(share, DIGITS).tolist()))

    def of(self, conflict: Posterior | float) -> Floats:
        """The rarity of conflicts of any shape; NaN stays NaN."""
        values = np.asarray(conflict, dtype=np.float64)
        if not self.conflict:
            return np.where(np.isnan(values), np.nan, 0.0)
        return np.asarray(np.interp(values, self.conflict, self.rarity, left=0.0))

    def to_json(self) -> dict[str, list[float]]:
        """As a JSON value."""
        return {"conflict": list(self.conflict), "rarity": list(self.rarity)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rarity:
        """From `to_json`'s value."""
        return cls(
            conflict=tuple(float(number) for number in value["conflict"]),
            rarity=tuple(float(number) for number in value["rarity"]),
        )


@dataclass(frozen=True, kw_only=True)
class ConflictCurve:
    """The conflict over time, defined at one step at least.

    Attributes:
        opinions: modality → (T, K), averaged over the window; NaN where it has no opinion.
        conflict: (T,) of the worst pair; NaN where fewer than two modalities have an opinion.
        pair: (T,) index into `pairs`, −1 where there is none; pairs: the pairs of names.
    """

    opinions: Mapping[str, Floats]
    conflict: Floats
    pair: NDArray[np.int64]
    pairs: tuple[tuple[str, str], ...]

    def emotions(self, steps: slice, classes: Sequence[str]) -> dict[str, tuple[str, float]]:
        """Modality → (emotion, its mean probability) over some steps, of those with an opinion there."""
        emotions = {}
        for name, opinion in self.opinions.items():
            rows = opinion[steps][~np.isnan(opinion[steps, 0])]
            if rows.size:
                mean = rows.mean(0)
                emotions[name] = (classes[int(mean.argmax())], float(mean.max()))
        return emotions

    @property
    def worst_step(self) -> int:
        """The step with the largest conflict; the first of equals."""
        return int(np.nanargmax(self.conflict))

    @property
    def peak(self) -> float:
        """The largest conflict."""
        return float(self.conflict[self.worst_step])


@dataclass(frozen=True, kw_only=True)
class ContradictionSpan:
    """A stretch `[onset_s, offset_s)` over which two modalities contradict each other.

    `score` is the rarest moment's rarity; `pair` the two that conflict most there; `says` the emotion of each modality
    with an opinion over the stretch, with its mean probability.
    """

    onset_s: float
    offset_s: float
    score: float
    pair: tuple[str, str]
    says: Mapping[str, tuple[str, float]]


def conflict(p: Posterior, q: Posterior) -> Floats:
    """How far distributions (…, K) exclude each other, (…): 0 when one class is the most probable of both, 1 when no
    class is possible to both.

    1 − max_k min(p_k / max p, q_k / max q): the conflict of possibility theory (Dubois and Prade, Possibility Theory,
    1988, section 1.6), with possibilities from probabilities by their ratio to the largest. Unlike a divergence it is
    not a contradiction when one side is merely unsure: a flat distribution conflicts with none, and two that leave
    different classes open but share one agree.
    """
    first, second = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    possible = np.minimum(first / first.max(-1, keepdims=True), second / second.max(-1, keepdims=True))
    return np.asarray(np.clip(1.0 - possible.max(-1), 0.0, 1.0))


def moments(
    steps: Mapping[str, Posterior],
    masks: Mapping[str, NDArray[np.bool_]],
    *,
    rate_hz: float,
    window_s: float = WINDOW_S,
) -> ConflictCurve | None:
    """The conflict at every step of a clip; None when nowhere two modalities have an opinion.

    Args:
        steps: modality → (T, K) calibrated step posteriors; masks: modality → (T,) True = valid.
        rate_hz: steps per second.
        window_s: how much time around a step is averaged.
    """
    present = [name for name in steps if name in masks and bool(masks[name].any())]
    pairs = tuple(combinations(present, 2))
    if not pairs:
        return None
    opinions = {name: _averaged(steps[name], masks[name], max(1, round(window_s * rate_hz))) for name in present}
    with np.errstate(invalid="ignore"):
        values = np.stack([conflict(opinions[first], opinions[second]) for first, second in pairs])
    defined = ~np.isnan(values)
    defined_steps = defined.any(0)
    if not defined_steps.any():
        return None
    filled = np.where(defined, values, -1.0)
    return ConflictCurve(
        opinions=opinions,
        conflict=np.where(defined_steps, filled.max(0), np.nan),
        pair=np.where(defined_steps, filled.argmax(0), -1).astype(np.int64),
        pairs=pairs,
    )


def find_spans(
    curve: ConflictCurve, rarity: Floats, *, threshold: float, classes: Sequence[str], rate_hz: float
) -> list[ContradictionSpan]:
    """The stretches of steps whose rarity (T,) reaches the threshold."""
    over = np.nan_to_num(rarity, nan=-1.0) >= threshold
    edges = np.diff(np.concatenate([[0], over.astype(np.int8), [0]]))
    spans = []
    for first, last in zip(np.nonzero(edges == 1)[0].tolist(), np.nonzero(edges == -1)[0].tolist(), strict=True):
        peak = first + int(curve.conflict[first:last].argmax())
        spans.append(
            ContradictionSpan(
                onset_s=first / rate_hz,
                offset_s=last / rate_hz,
                score=float(rarity[peak]),
                pair=curve.pairs[int(curve.pair[peak])],
                says=curve.emotions(slice(first, last), classes),
            )
        )
    return spans


def _averaged(posterior: Posterior, valid: NDArray[np.bool_], window: int) -> Floats:
    """Means (T, K) over a centred window of the valid steps; NaN where too few of them are valid."""
    kernel = np.ones(window)
    weights = valid.astype(np.float64)
    masked = np.where(valid[:, None], posterior, 0.0)
    count = _convolved(weights, kernel)
    total = np.stack([_convolved(column, kernel) for column in masked.T], axis=1)
    enough = count >= max(1.0, MIN_WINDOW_SHARE * min(window, valid.size)) - 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough[:, None], total / count[:, None], np.nan)


def _convolved(values: Floats, kernel: Floats) -> Floats:
    """`values` (T,) summed over the centred window, (T,) also where the window is longer than the clip."""
    full = np.convolve(values, kernel)
    start = (kernel.size - 1) // 2
    return np.asarray(full[start : start + values.size])
