"""How far a clip lies from what the model was trained on, by modality.

A Gaussian is fitted to the training clips' features, standardised and averaged over valid steps, with its covariance
shrunk (Ledoit and Wolf 2004), so that it exists with fewer clips than features. A clip's Mahalanobis distance from it
is its score (Lee et al. 2018, on one Gaussian instead of one per class). The threshold is a conformal quantile (Vovk et
al. 2005, section 4.2) of distances of people the Gaussian was not fitted on: those of the calibration split, and
training people held out in turn, since a handful of people is weak evidence of how far the next one may lie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import atomic_file, read_json, write_json
from components.contracts.errors import BundleError

FORMAT = 1
TENSORS_NAME = "reference.safetensors"
JSON_NAME = "reference.json"
MIN_CLIPS = 5
FOLDS = 8
DEFAULT_QUANTILE = 0.99

Pooled = Mapping[str, NDArray[np.float64]]


class OutlierCheck(NamedTuple):
    """One modality of one clip: its distance, the threshold, and whether the distance is above it."""

    distance: float
    threshold: float
    outside: bool


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Mean (D,) and whitening matrix (D, D) of one modality: distance = |whiten · (x − mean)|, in standard units."""

    mean: NDArray[np.float64]
    whiten: NDArray[np.float64]
    threshold: float

    @classmethod
    def fit(cls, rows: NDArray[np.float64]) -> Gaussian:
        """From training rows (N, D); the threshold is still infinite."""
        from sklearn.covariance import ledoit_wolf

        covariance, _ = ledoit_wolf(rows)
        width = rows.shape[1]
        # Features that are constant in training have variance 0; a floor keeps the inverse finite.
        floor = max(1e-6 * float(np.trace(covariance)) / width, 1e-9)
        values, vectors = np.linalg.eigh(covariance + floor * np.eye(width))
        return cls(mean=rows.mean(0), whiten=(vectors / np.sqrt(values)).T, threshold=math.inf)

    def distance(self, row: NDArray[np.floating]) -> float:
        """Mahalanobis distance of a row (D,), divided by sqrt(D) so that 1 is typical whatever the width."""
        return float(np.linalg.norm(self.whiten @ (row - self.mean)) / math.sqrt(row.size))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A summary of the training data by modality; a modality with fewer than five training clips is not in it."""

    modalities: Mapping[str, Gaussian]
    quantile: float = DEFAULT_QUANTILE

    @classmethod
    def fit(
        cls,
        train: Sequence[Pooled],
        calibration: Sequence[Pooled],
        *,
        people: Sequence[str] = (),
        quantile: float = DEFAULT_QUANTILE,
    ) -> Reference:
        """Fits the Gaussians on the training clips and the thresholds on people they were not fitted on.

        Args:
            train, calibration: per clip, the result of `pool`.
            people: the person of each training clip; empty to hold no one out.
            quantile: share of clips of unseen people of the same corpora that lie inside.

        Without held-out people a modality's threshold comes from the training clips themselves.
        """
        held_out = _by_modality(calibration)
        fitted = {}
        for name, values in sorted(_by_modality(train).items()):
            if len(values) < MIN_CLIPS:
                continue
            gaussian = Gaussian.fit(values)
            distances = [gaussian.distance(row) for row in held_out.get(name, ())]
            if people:
                owners = [person for person, clip in zip(people, train, strict=True) if name in clip]
                distances += _held_out_distances(values, owners)
            distances = distances or [gaussian.distance(row) for row in values]
            threshold = conformal_quantile(np.asarray(distances), quantile)
            fitted[name] = Gaussian(mean=gaussian.mean, whiten=gaussian.whiten, threshold=threshold)
        return cls(modalities=fitted, quantile=quantile)

    def judge(
        self, features: Mapping[str, NDArray[np.float32]], masks: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, OutlierCheck]:
        """{m: (T, D)}, {m: (T,)} of one clip → a judgement of each modality that is present and has a Gaussian."""
        judged = {}
        for name, row in pool(features, masks).items():
            if name in self.modalities:
                distance = self.modalities[name].distance(row)
                threshold = self.modalities[name].threshold
                judged[name] = OutlierCheck(distance, threshold, distance > threshold)
        return judged

    def save(self, folder: Path) -> None:
        """Writes `reference.safetensors` and `reference.json`, each atomically."""
        from safetensors.numpy import save_file

        tensors: dict[str, NDArray[np.float64]] = {}
        for name, gaussian in self.modalities.items():
            tensors[f"{name}.mean"] = np.ascontiguousarray(gaussian.mean)
            tensors[f"{name}.whiten"] = np.ascontiguousarray(gaussian.whiten)
        with atomic_file(folder / TENSORS_NAME) as beside:
            save_file(tensors, beside)
        entries = {name: {"threshold": gaussian.threshold} for name, gaussian in self.modalities.items()}
        write_json(folder / JSON_NAME, {"format": FORMAT, "quantile": self.quantile, "modalities": entries})

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Reads what `save` wrote. Raises BundleError if a file is missing or the two do not fit together."""
        from safetensors.numpy import load_file

        try:
            described = read_json(folder / JSON_NAME)
            tensors = load_file(folder / TENSORS_NAME)
        except Exception as error:
            raise BundleError("cannot read the outlier reference", where=str(folder), seen=str(error)) from error
        if described.get("format") != FORMAT:
            raise BundleError(
                "unknown outlier reference", where=str(folder), seen=described.get("format"), allowed=FORMAT
            )
        fitted = {}
        for name, entry in described["modalities"].items():
            mean, whiten = tensors.get(f"{name}.mean"), tensors.get(f"{name}.whiten")
            if mean is None or whiten is None or mean.ndim != 1 or whiten.shape != (mean.size, mean.size):
                raise BundleError("the reference's tensors and its JSON disagree", where=f"{folder}: {name}")
            fitted[name] = Gaussian(mean=mean, whiten=whiten, threshold=float(entry["threshold"]))
        return cls(modalities=fitted, quantile=float(described["quantile"]))


def pool(
    features: Mapping[str, NDArray[np.float32]], masks: Mapping[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:
    """The mean (D,) over valid steps of each modality that has any."""
    return {
        name: values[masks[name]].astype(np.float64).mean(0)
        for name, values in features.items()
        if bool(masks[name].any())
    }


def conformal_quantile(distances: NDArray[np.float64], quantile: float) -> float:
    """The ⌈(n + 1) · quantile⌉-th smallest of n distances, or the largest when n is too small for that."""
    rank = min(distances.size, math.ceil((distances.size + 1) * quantile))
    return float(np.sort(distances)[rank - 1])


def _held_out_distances(values: NDArray[np.float64], owners: Sequence[str]) -> list[float]:
    """Distances of each fold of people from a Gaussian of the others; empty when the others are too few."""
    fold_of = {person: index % FOLDS for index, person in enumerate(sorted(set(owners)))}
    folds = np.array([fold_of[person] for person in owners])
    distances: list[float] = []
    for fold in np.unique(folds):
        if (folds != fold).sum() >= MIN_CLIPS:
            gaussian = Gaussian.fit(values[folds != fold])
            distances += [gaussian.distance(row) for row in values[folds == fold]]
    return distances


def _by_modality(clips: Sequence[Pooled]) -> dict[str, NDArray[np.float64]]:
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for clip in clips:
        for name, row in clip.items():
            rows.setdefault(name, []).append(row)
    return {name: np.stack(values) for name, values in rows.items()}
