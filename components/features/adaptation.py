"""The statistics of somebody's own recordings, without labels, as a file: answers to more such recordings are
standardised by them, among those of all training clips.

The file holds what was measured, not what a version makes of it, so it serves every version with the same encoders. It
contains means and variances of features only; no recording can be restored from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.atomic import atomic_file
from components.contracts.errors import BundleError
from components.features.recordings import RecordingStatistics

FORMAT = "mer.adaptation/1"
# With fewer recordings their content, who speaks and what is felt, is taken for what they have in common.
MIN_CLIPS = 5
METADATA = "adaptation"
MAKE_AGAIN = "Make it again from the recordings: `mer adapt`"


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """Some recordings in common.

    Attributes:
        name: of the file, or where the recordings are from.
        clips: the number of recordings.
        modalities: modality → its statistics.
        encoders: modality → fingerprint of the encoder that made the features.
    """

    name: str
    clips: int
    modalities: Mapping[str, RecordingStatistics]
    encoders: Mapping[str, str]

    @property
    def words(self) -> str:
        """What an answer was adapted to."""
        counts = ", ".join(f"{name} of {item.clips}" for name, item in self.modalities.items())
        return f"{self.name} ({counts})"

    def save(self, path: Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        from safetensors.numpy import save_file

        tensors = {}
        for name, item in self.modalities.items():
            tensors[f"{name}.mean"], tensors[f"{name}.variance"] = item.mean, item.variance
        described = {
            "format": FORMAT,
            "clips": self.clips,
            "modalities": {
                name: {"encoder": self.encoders[name], "clips": item.clips, "steps": item.steps}
                for name, item in self.modalities.items()
            },
        }
        with atomic_file(path) as beside:
            save_file(tensors, beside, metadata={METADATA: json.dumps(described)})

    @classmethod
    def load(cls, path: Path) -> Adaptation:
        """Reads what `save` wrote. Raises BundleError if it is missing or is not such a file."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as stored:
                described = json.loads((stored.metadata() or {})[METADATA])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            entries: dict[str, Any] = described["modalities"]
            if described["format"] != FORMAT:
                raise BundleError(
                    "unknown format of an adaptation", where=str(path), seen=described["format"], allowed=FORMAT
                )
            return cls(
                name=path.name,
                clips=int(described["clips"]),
                modalities={name: _statistics(name, entry, tensors) for name, entry in sorted(entries.items())},
                encoders={name: str(entry["encoder"]) for name, entry in entries.items()},
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            seen = str(error) if isinstance(error, OSError | SafetensorError) else repr(error)
            raise BundleError("cannot read the adaptation", where=str(path), seen=seen, remedy=MAKE_AGAIN) from error


def _statistics(name: str, entry: Mapping[str, Any], tensors: Mapping[str, Any]) -> RecordingStatistics:
    mean, variance = (np.asarray(tensors[f"{name}.{part}"], dtype=np.float64) for part in ("mean", "variance"))
    if mean.ndim != 1 or variance.shape != mean.shape or not np.isfinite([mean, variance]).all() or variance.min() < 0:
        raise ValueError(f"{name}: not a mean and a variance")
    return RecordingStatistics(mean=mean, variance=variance, steps=int(entry["steps"]), clips=int(entry["clips"]))
