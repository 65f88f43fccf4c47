"""How far a clip lies from what the model was trained on, by modality.

A Gaussian is fitted to the training clips' features, standardised and averaged over valid steps, with its covariance
shrunk (Ledoit and Wolf 2004), so that it exists with fewer clips than features. A clip's Mahalanobis distance from it
is its score (Lee et al. 2018, on one Gaussian instead of one per class). The threshold is a conformal quantile (Vovk et
al. 2005, section 4.2) of distances of people the Gaussian was not fitted on: those of the calibration split, and
training people held out in turn, since a handful of people is weak evidence of how far the next one may lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import atomic_file, read_json, write_json
from components.contracts.errors import BundleError
from components.runtime.spilled import SpilledRows

FORMAT = 1
TENSORS_NAME = "reference.safetensors"
JSON_NAME = "reference.json"
MIN_CLIPS = 5
FOLDS = 8
# Rows that scikit-learn gets as one array, of which it makes several more; of others sums are taken some at a time.
WHOLE_BYTES = 64 << 20
DEFAULT_QUANTILE = 0.99

Pooled = Mapping[str, NDArray[np.float64]]
Floats = NDArray[np.float64]


class PooledRows:
    """Gathers the result of `pool` of many clips, by modality, and whose they are; of many clips, on disk."""

    def __init__(self) -> None:
        self._people: dict[str, int] = {}
        self._rows: dict[str, SpilledRows] = {}
        self._owners: dict[str, SpilledRows] = {}

    @classmethod
    def of(cls, clips: Iterable[Pooled], people: Iterable[str] = ()) -> PooledRows:
        """Those of clips; `people` is the person of each, or empty to hold no one out."""
        rows, owners = cls(), iter(people)
        for clip, person in zip(clips, repeat(None), strict=False):
            rows.append(clip, next(owners, person))
        return rows

    def append(self, clip: Pooled, person: str | None) -> None:
        """Adds a clip."""
        place = -1 if person is None else self._people.setdefault(person, len(self._people))
        for name, row in clip.items():
            self._rows.setdefault(name, SpilledRows()).append(row[None])
            self._owners.setdefault(name, SpilledRows()).append(np.array([place], dtype=np.int32))

    def by_modality(self) -> Iterator[tuple[str, Floats, NDArray[np.int64]]]:
        """Each modality with its rows (N, D), and the fold (N,) of the person of each; -1 without people. Nothing can
        be added afterwards."""
        for name in sorted(self._rows):
            owners = self._owners[name].array()
            known = set(np.unique(owners).tolist())
            people = sorted(person for person, place in self._people.items() if place in known)
            fold_of = np.full(len(self._people) + 1, -1)  # its last one is that of no person
            fold_of[[self._people[person] for person in people]] = np.arange(len(people)) % FOLDS
            yield name, self._rows[name].array(), fold_of[owners]


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
    def fit(cls, rows: Floats, chosen: NDArray[np.int64] | None = None) -> Gaussian:
        """From training rows (N, D), or some of them; the threshold is still infinite."""
        mean, covariance = _shrunk(rows, chosen)
        width = rows.shape[1]
        # Features that are constant in training have variance 0; a floor keeps the inverse finite.
        floor = max(1e-6 * float(np.trace(covariance)) / width, 1e-9)
        values, vectors = np.linalg.eigh(covariance + floor * np.eye(width))
        return cls(mean=mean, whiten=(vectors / np.sqrt(values)).T, threshold=math.inf)

    def distance(self, row: NDArray[np.floating]) -> float:
        """Mahalanobis distance of a row (D,), divided by sqrt(D) so that 1 is typical whatever the width."""
        return float(np.linalg.norm(self.whiten @ (row - self.mean)) / math.sqrt(row.size))

    def distances(self, rows: Iterable[Floats]) -> Floats:
        """(N,) that of each row."""
        return np.fromiter(map(self.distance, rows), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A summary of the training data by modality; a modality with fewer than five training clips is not in it."""

    modalities: Mapping[str, Gaussian]
    quantile: float = DEFAULT_QUANTILE

    @classmethod
    def fit(cls, train: PooledRows, calibration: PooledRows, *, quantile: float = DEFAULT_QUANTILE) -> Reference:
        """Fits the Gaussians on the training clips and the thresholds on people they were not fitted on.

        Args:
            train, calibration: the clips; those for training with their people, or without to hold no one out.
            quantile: share of clips of unseen people of the same corpora that lie inside.

        Without held-out people a modality's threshold comes from the training clips themselves.
        """
        held_out = {name: rows for name, rows, _ in calibration.by_modality()}
        fitted = {}
        for name, rows, folds in train.by_modality():
            if len(rows) < MIN_CLIPS:
                continue
            gaussian = Gaussian.fit(rows)
            distances = [gaussian.distances(held_out[name])] if name in held_out else []
            distances += _held_out_distances(rows, folds)
            threshold = conformal_quantile(np.concatenate(distances or [gaussian.distances(rows)]), quantile)
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


def _held_out_distances(rows: Floats, folds: NDArray[np.int64]) -> list[Floats]:
    """Distances of each fold of people from a Gaussian of the others; empty when the others are too few."""
    distances = []
    for fold in np.unique(folds[folds >= 0]):
        if (folds != fold).sum() >= MIN_CLIPS:
            gaussian = Gaussian.fit(rows, np.flatnonzero(folds != fold))
            distances.append(gaussian.distances(rows[place] for place in np.flatnonzero(folds == fold)))
    return distances


def _shrunk(rows: Floats, chosen: NDArray[np.int64] | None) -> tuple[Floats, Floats]:
    """The mean (D,) and the shrunk covariance (D, D) of some rows (N, D), all of them without `chosen`."""
    from sklearn.covariance import ledoit_wolf

    places = np.arange(len(rows)) if chosen is None else chosen
    if places.size * rows[0].nbytes > WHOLE_BYTES:
        return _shrunk_in_parts(rows, places)
    values = rows if chosen is None else rows[chosen]
    return values.mean(0), ledoit_wolf(values)[0]


def _shrunk_in_parts(rows: Floats, places: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """As `ledoit_wolf` up to rounding, by sums over parts of the rows: the formulas are those of scikit-learn."""
    parts = np.array_split(places, -(-places.size * rows[0].nbytes // (WHOLE_BYTES // 8)))
    count, width = places.size, rows.shape[1]
    mean = np.sum([rows[part].sum(0) for part in parts], axis=0) / count
    products, fourth = np.zeros((width, width)), 0.0
    for part in parts:
        centred = rows[part] - mean
        products += centred.T @ centred
        fourth += float(((centred**2).sum(1) ** 2).sum())
    covariance = products / count
    trace, squares = float(np.trace(covariance)), float((covariance**2).sum())
    beta = (fourth / count - squares) / (width * count)
    delta = (squares - trace**2 / width) / width
    share = min(beta, delta) / delta if min(beta, delta) else 0.0
    return mean, (1.0 - share) * covariance + share * trace / width * np.eye(width)
