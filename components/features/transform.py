"""The one transform between features and model: per-modality standardisation, fitted once on the training split; or
none, for a model that takes features as the encoders give them.

It is saved beside the model and applied by the same code in training, in evaluation and in a replica. A modality that
no training clip had is not in it, so the model never sees one it was not trained on. It may hold the statistics of
every dataset beside those of all training clips: training then uses them (`train.normalise`), and an answer those of
the recordings at hand where they are given (`features/adaptation.py`), or else those of all training clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import atomic_file, read_json, write_json
from components.contracts.errors import BundleError, DataError
from components.features.base import Encoded
from components.features.recordings import RecordingStatistics, Standardisation, check_width, gather, usable

FORMAT = 1
TENSORS_NAME = "transform.safetensors"
JSON_NAME = "transform.json"
KINDS = {True: "standardisation", False: "none"}
# Values are clipped at this many standard deviations: one wild value must not dominate a clip. It stays an outlier.
CLIP = 10.0

Fitted = Mapping[str, Standardisation]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Standardisation by modality, in the order of the names.

    Without `standardise` it chooses modalities and valid steps as ever, and leaves the values alone.

    Attributes:
        modalities: modality → that of all training clips, for recordings of which nothing else is known.
        datasets: dataset → modality → that of the dataset's training clips, among all of them (`RecordingStatistics.
            among`); empty unless it was fitted with datasets.
        raw: modalities whose values are left alone: layers of the model read them (`train.adapt`).
    """

    modalities: Fitted
    standardise: bool = True
    datasets: Mapping[str, Fitted] = field(default_factory=dict)
    raw: frozenset[str] = frozenset()

    @property
    def widths(self) -> dict[str, int]:
        """Features per step, by modality."""
        return {name: fitted.width for name, fitted in self.modalities.items()}

    @classmethod
    def fit(
        cls,
        clips: Iterable[Mapping[str, Encoded]],
        widths: Mapping[str, int],
        *,
        standardise: bool = True,
        datasets: Mapping[str, Iterable[Mapping[str, Encoded]]] | None = None,
        raw: Iterable[str] = (),
    ) -> Transform:
        """Fits on the clips of the *training* split; one pass, float64.

        Args:
            clips: per clip, modality → Encoded. Invalid steps and steps with a non-finite value do not count.
            widths: features per step of every modality that may occur.
            standardise: whether `apply` changes values.
            datasets: the same clips by dataset, for statistics of each; those of a single one are those of all.
            raw: modalities whose values `apply` leaves alone.

        Raises:
            DataError: a modality of a different width, or one that is not in `widths`; no valid step at all.
        """
        fitted = {name: statistics.standardisation() for name, statistics in gather(clips, widths).items()}
        if not fitted:
            raise DataError("there is no valid step to fit the transform on", where="transform")
        pooled = cls(modalities=fitted, standardise=standardise, raw=frozenset(raw) & fitted.keys())
        if not standardise or datasets is None or len(datasets) < 2:
            return pooled
        own = {name: pooled.adapted(gather(of_dataset, widths)) for name, of_dataset in sorted(datasets.items())}
        return replace(pooled, datasets={name: transform.modalities for name, transform in own.items()})

    def only(self, names: Iterable[str]) -> Transform:
        """The same for some of its modalities."""
        chosen = list(names)
        return replace(
            self,
            modalities={name: self.modalities[name] for name in chosen},
            datasets={dataset: {name: fitted[name] for name in chosen} for dataset, fitted in self.datasets.items()},
            raw=self.raw & set(chosen),
        )

    def adapted(self, recordings: Mapping[str, RecordingStatistics]) -> Transform:
        """For more of some recordings, by their statistics; a modality that they lack stays as it is."""
        return replace(
            self,
            modalities={
                name: recordings[name].among(pooled) if name in recordings else pooled
                for name, pooled in self.modalities.items()
            },
            datasets={},
        )

    def of_dataset(self, name: str) -> Transform:
        """For clips of a dataset; itself where it has no statistics of that one."""
        return replace(self, modalities=self.datasets.get(name, self.modalities), datasets={})

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
            check_width(name, item, fitted.width)
            if item.valid.size != num_steps:
                raise DataError("number of steps differs", where=name, seen=item.valid.size, allowed=num_steps)
            valid = usable(item)
            rows = item.values[valid]
            if self.standardise and name not in self.raw:
                rows = np.clip((rows.astype(np.float64) - fitted.mean) / fitted.std, -CLIP, CLIP)
            features[name][valid] = rows.astype(np.float32)
            masks[name] = valid
        return features, masks

    def save(self, folder: Path) -> None:
        """Writes `transform.safetensors` and `transform.json`, each atomically."""
        from safetensors.numpy import save_file

        tensors = _tensors(self.modalities, "")
        described: dict[str, Any] = {
            "format": FORMAT,
            "kind": KINDS[self.standardise],
            "modalities": _entries(self.modalities),
        }
        for name, fitted in self.datasets.items():
            tensors |= _tensors(fitted, _place(name))
        if self.datasets:
            described["datasets"] = {name: _entries(fitted) for name, fitted in self.datasets.items()}
        if self.raw:
            described["raw"] = sorted(self.raw)
        with atomic_file(folder / TENSORS_NAME) as beside:
            save_file(tensors, beside)
        write_json(folder / JSON_NAME, described)

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
        return cls(
            modalities=_fitted(described["modalities"], tensors, "", folder),
            standardise=described["kind"] == KINDS[True],
            datasets={
                name: _fitted(entries, tensors, _place(name), folder)
                for name, entries in described.get("datasets", {}).items()
            },
            raw=frozenset(described.get("raw", ())),
        )


def _place(dataset: str) -> str:
    """Where the tensors of a dataset are."""
    return f"datasets/{dataset}/"


def _tensors(fitted: Fitted, place: str) -> dict[str, NDArray[np.float64]]:
    parts = ("mean", "std")
    return {f"{place}{name}.{part}": getattr(item, part) for name, item in fitted.items() for part in parts}


def _entries(fitted: Fitted) -> list[dict[str, Any]]:
    return [{"name": name, "width": item.width, "steps": item.steps} for name, item in fitted.items()]


def _fitted(
    entries: Iterable[Mapping[str, Any]], tensors: Mapping[str, NDArray[np.float64]], place: str, folder: Path
) -> dict[str, Standardisation]:
    fitted = {}
    for entry in entries:
        mean, std = (tensors.get(f"{place}{entry['name']}.{part}") for part in ("mean", "std"))
        if mean is None or std is None or mean.shape != (entry["width"],) or std.shape != mean.shape:
            where = f"{folder}: {place}{entry['name']}"
            raise BundleError("the transform's tensors and its JSON disagree", where=where)
        fitted[entry["name"]] = Standardisation(mean=mean, std=std, steps=entry["steps"])
    return fitted
