"""Figures of stored features: enough to detect unusable ones, without keeping them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.features.base import Encoded
from components.features.store import FeatureStore

KEYS_PER_READ = 64


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One modality of one clip: rows stored, width, values of valid steps that are not finite, and their range."""

    num_steps: int
    width: int
    num_values: int
    not_finite: int
    low: float
    high: float

    @property
    def constant(self) -> bool:
        """Several finite values, and all of them the same number."""
        return self.num_values > 1 and self.not_finite == 0 and self.low == self.high


def measure(encoded: Encoded) -> Measured:
    """The figures of one `Encoded`."""
    values = encoded.values[encoded.valid]
    finite = values[np.isfinite(values)]
    return Measured(
        num_steps=int(encoded.values.shape[0]),
        width=int(encoded.values.shape[1]),
        num_values=int(values.size),
        not_finite=int(values.size - finite.size),
        low=float(finite.min()) if finite.size else 0.0,
        high=float(finite.max()) if finite.size else 0.0,
    )


def measure_store(store: FeatureStore, requested: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Measured]]:
    """Figures of the requested keys that are stored: modality → key → figures. Reads a few clips at a time."""
    figures: dict[str, dict[str, Measured]] = {}
    for modality, keys in requested.items():
        stored = set(store.keys(modality))
        present = sorted(key for key in set(keys) if key in stored)
        figures[modality] = {}
        for first in range(0, len(present), KEYS_PER_READ):
            for key, encoded in store.read(modality, present[first : first + KEYS_PER_READ]).items():
                figures[modality][key] = measure(encoded)
    return figures


@dataclass(frozen=True, kw_only=True)
class FeatureMoments:
    """Mean and standard deviation, each (D,) float64, of a modality's features over all valid steps."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def moments_of(store: FeatureStore, modality: str, keys: Iterable[str]) -> FeatureMoments | None:
    """The moments of the valid, finite steps of clips; None without any. Reads a few clips at a time.

    Parts are combined as in Chan, Golub and LeVeque (1983), which loses no digits where the mean is far from 0; the
    order is that of the keys, so equal stores give equal numbers.
    """
    stored = store.keys(modality)
    present = sorted(key for key in set(keys) if key in stored)
    count = 0
    mean = squares = np.zeros(0)
    for first in range(0, len(present), KEYS_PER_READ):
        read = store.read(modality, present[first : first + KEYS_PER_READ])
        values = np.concatenate([encoded.values[encoded.valid] for encoded in read.values()]).astype(np.float64)
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            continue
        part_mean, part_squares = values.mean(axis=0), np.square(values - values.mean(axis=0)).sum(axis=0)
        if count == 0:
            count, mean, squares = len(values), part_mean, part_squares
            continue
        total = count + len(values)
        squares = squares + part_squares + np.square(part_mean - mean) * (count * len(values) / total)
        mean = mean + (part_mean - mean) * (len(values) / total)
        count = total
    return FeatureMoments(mean=mean, deviation=np.sqrt(squares / count)) if count else None
