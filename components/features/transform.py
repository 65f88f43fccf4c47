"""The one transform between features and model: per-modality standardisation, fitted once on the training split; or
none, for a model that takes features as the encoders give them.

It is saved beside the model and applied by the same code in training, in evaluation and in a replica. A modality that
no training clip had is not in it, so the model never sees one it was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import atomic_file, read_json, write_json
from components.contracts.errors import BundleError, DataError
from components.features.base import Encoded

FORMAT = 1
TENSORS_NAME = "transform.safetensors"
JSON_NAME = "transform.json"
KINDS = {True: "standardisation", False: "none"}
# A feature whose spread is below this share of its magnitude is constant but for rounding: it becomes zero, not noise.
RELATIVE_FLOOR = 1e-6
ABSOLUTE_FLOOR = 1e-8
# Values are clipped at this many standard deviations: one wild value must not dominate a clip. It stays an outlier.
CLIP = 10.0


@dataclass(frozen=True, kw_only=True)
class Standardisation:
    """Mean and standard deviation of one modality's features, (D,) float64, over `steps` valid training steps.

    A constant feature has `std` 1 and is zero after `apply` wherever it keeps its constant.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    steps: int

    @property
    def width(self) -> int:
        """D."""
        return self.mean.size


class _Moments:
    """Count, mean and sum of squared deviations in float64, merged clip by clip (Chan, Golub and LeVeque 1979)."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = np.zeros(width)
        self.scatter = np.zeros(width)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Merges rows (n, D)."""
        if not len(rows):
            return
        mean = rows.mean(axis=0)
        delta = mean - self.mean
        total = self.count + len(rows)
        self.scatter += ((rows - mean) ** 2).sum(axis=0) + delta**2 * (self.count * len(rows) / total)
        self.mean += delta * (len(rows) / total)
        self.count = total

    def standardisation(self) -> Standardisation:
        """Mean and population standard deviation, floored."""
        std = np.sqrt(self.scatter / self.count)
        constant = std <= np.maximum(RELATIVE_FLOOR * np.abs(self.mean), ABSOLUTE_FLOOR)
        return Standardisation(mean=self.mean, std=np.where(constant, 1.0, std), steps=self.count)


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Standardisation by modality, in the order of the names.

    Without `standardise` it chooses modalities and valid steps as ever, and leaves the values alone.
    """

    modalities: Mapping[str, Standardisation]
    standardise: bool = True

    @property
    def widths(self) -> dict[str, int]:
        """Features per step, by modality."""
        return {name: fitted.width for name, fitted in self.modalities.items()}

    @classmethod
    def fit(
        cls, clips: Iterable[Mapping[str, Encoded]], widths: Mapping[str, int], *, standardise: bool = True
    ) -> Transform:
        """Fits on the clips of the *training* split; one pass, float64.

        Args:
            clips: per clip, modality → Encoded. Invalid steps and steps with a non-finite value do not count.
            widths: features per step of every modality that may occur.
            standardise: whether `apply` changes values.

        Raises:
            DataError: a modality of a different width, or one that is not in `widths`; no valid step at all.
        """
        moments = {name: _Moments(width) for name, width in sorted(widths.items())}
        for clip in clips:
            for name, encoded in clip.items():
                if name not in moments:
                    raise DataError("unknown modality", where="transform", seen=name, allowed=", ".join(moments))
                _check_width(name, encoded, widths[name])
                moments[name].add(encoded.values[_usable(encoded)].astype(np.float64))
        fitted = {name: moment.standardisation() for name, moment in moments.items() if moment.count}
        if not fitted:
            raise DataError("there is no valid step to fit the transform on", where="transform")
        return cls(modalities=fitted, standardise=standardise)

    def only(self, names: Iterable[str]) -> Transform:
        """The same for some of its modalities."""
        return Transform(modalities={name: self.modalities[name] for name in names}, standardise=self.standardise)

    def apply(
        self, encoded: Mapping[str, Encoded], num_steps: int
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
        """Standardises one clip.

        Returns:
            (modality → (T, D) float32, modality → (T,) True where valid), for every fitted modality: an absent one is
            all zeros and all False, an invalid or non-finite step is zero and False; standardised values are bounded
            to ±10.

        Raises:
            DataError: a different width, or a number of steps other than `num_steps`.
        """
        features: dict[str, NDArray[np.float32]] = {}
        masks: dict[str, NDArray[np.bool_]] = {}
        for name, fitted in self.modalities.items():
            features[name] = np.zeros((num_steps, fitted.width), dtype=np.float32)
            masks[name] = np.zeros(num_steps, dtype=bool)
            if name not in encoded:
                continue
            item = encoded[name]
            _check_width(name, item, fitted.width)
            if item.valid.size != num_steps:
                raise DataError("number of steps differs", where=name, seen=item.valid.size, allowed=num_steps)
            usable = _usable(item)
            rows = item.values[usable]
            if self.standardise:
                rows = np.clip((rows.astype(np.float64) - fitted.mean) / fitted.std, -CLIP, CLIP)
            features[name][usable] = rows.astype(np.float32)
            masks[name] = usable
        return features, masks

    def save(self, folder: Path) -> None:
        """Writes `transform.safetensors` and `transform.json`, each atomically."""
        from safetensors.numpy import save_file

        tensors = {}
        for name, fitted in self.modalities.items():
            tensors[f"{name}.mean"] = fitted.mean
            tensors[f"{name}.std"] = fitted.std
        with atomic_file(folder / TENSORS_NAME) as beside:
            save_file(tensors, beside)
        entries = [{"name": name, "width": item.width, "steps": item.steps} for name, item in self.modalities.items()]
        write_json(folder / JSON_NAME, {"format": FORMAT, "kind": KINDS[self.standardise], "modalities": entries})

    @classmethod
    def load(cls, folder: Path) -> Transform:
        """Reads what `save` wrote. Raises BundleError if a file is missing or the two do not fit together."""
        from safetensors.numpy import load_file

        try:
            described = read_json(folder / JSON_NAME)
            tensors = load_file(folder / TENSORS_NAME)
        except Exception as error:
            raise BundleError("cannot read the transform", where=str(folder), seen=str(error)) from error
        if described.get("format") != FORMAT:
            raise BundleError("unknown transform", where=str(folder), seen=described.get("format"), allowed=FORMAT)
        if described.get("kind") not in KINDS.values():
            allowed = ", ".join(KINDS.values())
            raise BundleError("unknown transform", where=str(folder), seen=described.get("kind"), allowed=allowed)
        fitted = {}
        for entry in described["modalities"]:
            mean, std = (tensors.get(f"{entry['name']}.{part}") for part in ("mean", "std"))
            if mean is None or std is None or mean.shape != (entry["width"],) or std.shape != mean.shape:
                raise BundleError("the transform's tensors and its JSON disagree", where=f"{folder}: {entry['name']}")
            fitted[entry["name"]] = Standardisation(mean=mean, std=std, steps=entry["steps"])
        return cls(modalities=fitted, standardise=described["kind"] == KINDS[True])


def _usable(encoded: Encoded) -> NDArray[np.bool_]:
    return encoded.valid & np.isfinite(encoded.values).all(axis=1)


def _check_width(name: str, encoded: Encoded, width: int) -> None:
    if encoded.values.shape[1] != width:
        raise DataError(
            "features have a different width",
            where=name,
            seen=encoded.values.shape[1],
            allowed=width,
            remedy="They come from a different encoder; run the features stage again",
        )
