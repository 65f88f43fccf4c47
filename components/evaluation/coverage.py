"""How many answers are wrong when only the surest are kept: risk and coverage (El-Yaniv and Wiener, JMLR 11, 2010).

Calibration promises that answers of 70 % confidence are right in seven cases of ten. This asks whether sorting by
confidence is of use at all: a reader who keeps the surest quarter wants far fewer mistakes in it than in all answers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.evaluation.intervals import Bootstrap, at_once, ratio, rounded
from components.evaluation.measure import Sample

Floats = NDArray[np.float64]
# Shares of the answers in the table.
COVERAGES = (0.25, 0.5, 0.75, 1.0)
# Points of the curve; a share of fewer answers than the bins of a reliability diagram have is noise.
POINTS = 100
MIN_KEPT = 8


class Curve(NamedTuple):
    """(P,) shares of the answers that are kept, and the shares of those that are wrong."""

    coverage: Floats
    risk: Floats

    @property
    def area(self) -> float:
        """The area under the whole curve: the mean risk over all coverages, 0 at best."""
        return float(np.trapezoid(self.risk, self.coverage) + self.risk[0] * self.coverage[0])


def curve(sample: Sample) -> Curve:
    """Of all labelled answers, or some of very many, the surest first; equally sure ones enter together."""
    some = sample.thinned()
    confidence, wrong = _outcomes(some.posterior, some.truth)
    levels, inverse = np.unique(-confidence, return_inverse=True)
    kept = np.cumsum(np.bincount(inverse, minlength=levels.size))
    mistakes = np.cumsum(np.bincount(inverse, weights=wrong, minlength=levels.size))
    shown = kept >= min(MIN_KEPT, confidence.size)
    kept, mistakes = kept[shown], mistakes[shown]
    places = np.unique(np.linspace(0, kept.size - 1, POINTS).round().astype(np.int64))
    return Curve(kept[places] / confidence.size, mistakes[places] / kept[places])


def coverage_figures(sample: Sample, bootstrap: Bootstrap) -> dict[str, Any]:
    """The area under the curve, and for each share of `COVERAGES` with at least eight answers their lowest confidence,
    how many they are, and how many of them are wrong, with an interval over people.

    Answers as sure as the last one that is kept are kept too, so `items` may be more than the share.
    """
    some = sample.thinned()
    people = sample.people
    ordered, surest = np.sort(_outcomes(some.posterior, some.truth)[0])[::-1], {}
    for share in COVERAGES:
        count = round(share * ordered.size)
        if count < min(MIN_KEPT, ordered.size):
            continue
        least, sums = float(ordered[count - 1]), np.zeros((len(people.names), 2))
        for part in at_once(sample.size):
            confidence, wrong = _outcomes(sample.posterior[part], sample.truth[part])
            kept = confidence >= least
            np.add.at(sums, people.index[part], np.stack([wrong * kept, kept], axis=-1))
        surest[f"{share:g}"] = {
            "confidence": rounded(least),
            "items": int(sums[:, 1].sum()),
            "wrong": bootstrap.of_sums(sums, ratio).to_json(),
        }
    return {"area": rounded(curve(sample).area), "surest": surest}


def _outcomes(posterior: NDArray[np.floating], truth: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(N,) confidence, and (N,) 1 where the answer is wrong."""
    return posterior.max(-1).astype(np.float64), (posterior.argmax(-1) != truth).astype(np.float64)
