"""What recordings have in common: the mean and spread of their features, and the same for a few recordings among many.

A microphone, a room, a language or a camera moves and stretches the features of everything recorded with it. The
statistics of a few recordings are uncertain, so they are combined with those of all training recordings as with a
conjugate prior worth `PRIOR_CLIPS` clips (maximum a posteriori, as Gauvain and Lee 1994 adapt speech models to a
speaker).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.features.base import Encoded

# The clips that the statistics of all training recordings count as, beside those of some recordings. Chosen on pairs of
# training corpora (docs/benchmarks/corpora.md): with more of them, ten recordings gain less; without any, one can harm.
PRIOR_CLIPS = 3
# A feature whose spread is below this share of its magnitude is constant but for rounding: it becomes zero, not noise.
RELATIVE_FLOOR = 1e-6
ABSOLUTE_FLOOR = 1e-8


@dataclass(frozen=True, kw_only=True)
class Standardisation:
    """Mean and standard deviation of one modality's features, (D,) float64, over `steps` valid training steps.

    A constant feature has `std` 1 and is zero after `Transform.apply` wherever it keeps its constant.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    steps: int

    @property
    def width(self) -> int:
        """D."""
        return self.mean.size


@dataclass(frozen=True, kw_only=True)
class RecordingStatistics:
    """One modality of some recordings: mean and variance of its features over all valid steps, (D,) float64, with the
    number of `steps` and of the `clips` that have any."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    steps: int
    clips: int

    def standardisation(self) -> Standardisation:
        """Of these recordings alone."""
        return Standardisation(mean=self.mean, std=_floored(self.mean, np.sqrt(self.variance)), steps=self.steps)

    def among(self, pooled: Standardisation) -> Standardisation:
        """Of these recordings, where `pooled` counts as a prior of `PRIOR_CLIPS` clips.

        Per feature the posterior mode of a Gaussian with a normal-inverse-χ² prior of as many pseudo-observations for
        the mean as for the variance (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution", section
        5). Clips count and not steps, because the steps of a clip resemble each other. A feature that is constant in
        `pooled` stays so.
        """
        count, prior = self.clips, PRIOR_CLIPS
        total = count + prior
        away = self.mean - pooled.mean
        mean = pooled.mean + away * (count / total)
        spread = prior * pooled.std**2 + count * self.variance + away**2 * (prior * count / total)
        constant = pooled.std == 1.0
        return Standardisation(
            mean=np.where(constant, pooled.mean, mean),
            std=np.where(constant, 1.0, _floored(mean, np.sqrt(spread / total))),
            steps=self.steps,
        )


class Gathered:
    """Count, mean and sum of squared deviations in float64, merged clip by clip (Chan, Golub and LeVeque 1979)."""

    def __init__(self, width: int) -> None:
        self.clips = 0
        self.count = 0
        self.mean = np.zeros(width)
        self.scatter = np.zeros(width)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Merges the rows (n, D) of a clip."""
        if not len(rows):
            return
        mean = rows.mean(axis=0)
        delta = mean - self.mean
        total = self.count + len(rows)
        self.scatter += ((rows - mean) ** 2).sum(axis=0) + delta**2 * (self.count * len(rows) / total)
        self.mean += delta * (len(rows) / total)
        self.count = total
        self.clips += 1

    def statistics(self) -> RecordingStatistics:
        """Of at least one row."""
        return RecordingStatistics(
            mean=self.mean, variance=self.scatter / self.count, steps=self.count, clips=self.clips
        )


def gather(clips: Iterable[Mapping[str, Encoded]], widths: Mapping[str, int]) -> dict[str, RecordingStatistics]:
    """The statistics of every modality that has a valid step; one pass, float64.

    Args:
        clips: per clip, modality → Encoded. Invalid steps and steps with a non-finite value do not count.
        widths: features per step of every modality that may occur.

    Raises:
        DataError: a modality of a different width, or one that is not in `widths`.
    """
    gathered = {name: Gathered(width) for name, width in sorted(widths.items())}
    for clip in clips:
        for name, encoded in clip.items():
            if name not in gathered:
                raise DataError("unknown modality", where="transform", seen=name, allowed=", ".join(gathered))
            check_width(name, encoded, widths[name])
            gathered[name].add(encoded.values[usable(encoded)].astype(np.float64))
    return {name: moments.statistics() for name, moments in gathered.items() if moments.count}


def usable(encoded: Encoded) -> NDArray[np.bool_]:
    """(T,) True for the valid steps without a non-finite value."""
    return encoded.valid & np.isfinite(encoded.values).all(axis=1)


def check_width(name: str, encoded: Encoded, width: int) -> None:
    """Raises DataError for features of a different width."""
    if encoded.values.shape[1] != width:
        raise DataError(
            "features have a different width",
            where=name,
            seen=encoded.values.shape[1],
            allowed=width,
            remedy="They come from a different encoder; run the features stage again",
        )


def _floored(mean: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(std <= np.maximum(RELATIVE_FLOOR * np.abs(mean), ABSOLUTE_FLOOR), 1.0, std)
