"""The three upstream folders of a tiny dataset, with real Parquet and a real feature store, each part changeable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from components.alignment.stage import QUALITY_SCHEMA
from components.contracts.atomic import write_json, write_table
from components.contracts.config import Catalog, Labels, Params, Validation
from components.contracts.layout import Layout
from components.contracts.records import Clip, Quarantined, clip_table, quarantine_table
from components.contracts.timebase import Grid
from components.features.base import Encoded
from components.features.stage import INDEX_SCHEMA
from components.features.store import FeatureStore, feature_key
from tests.builders import make_clip

ALIGNMENT = "a" * 64
ENCODERS = {
    "face": {"spec": "hog", "fingerprint": "1" * 64, "width": 3},
    "voice": {"spec": "signal", "fingerprint": "2" * 64, "width": 2},
}
EMOTIONS = ("neutral", "anger", "happiness")
DURATION_S = 2.0
RATE_HZ = 10.0


def tiny_params(**sections: Any) -> Params:
    """Parameters that fit a dozen clips."""
    defaults: dict[str, Any] = {
        "datasets": ("tiny",),
        "labels": Labels(),
        "validation": Validation(min_clips=4, min_subjects=3, min_clips_per_class=1),
        "catalog": Catalog(),
    }
    return Params(**{**defaults, **sections})


def tiny_clips(*, subjects: int = 4, dataset: str = "tiny", emotions: tuple[str, ...] = EMOTIONS) -> list[Clip]:
    """One clip a subject and emotion."""
    return [
        make_clip(
            f"{subject}-{emotion}",
            clip_id=f"{dataset}/{subject}-{emotion}",
            dataset=dataset,
            content_sha256=hashlib.sha256(f"{dataset}/{subject}-{emotion}".encode()).hexdigest(),
            subject_id=f"{dataset}/s{subject}",
            session_id=f"{dataset}/s{subject}/1",
            emotion=emotion,
        )
        for subject in range(subjects)
        for emotion in emotions
    ]


@dataclass
class Tiny:
    """What the three stages before validation would have written for `clips`; change it, then `write` it."""

    clips: list[Clip] = field(default_factory=tiny_clips)
    dataset: str = "tiny"
    alignment_fingerprint: str = ALIGNMENT
    encoders: dict[str, dict[str, Any]] = field(default_factory=lambda: {m: dict(e) for m, e in ENCODERS.items()})
    quality: list[dict[str, Any]] = field(default_factory=list)
    index: list[dict[str, Any]] = field(default_factory=list)
    features: dict[str, dict[str, Encoded]] = field(default_factory=dict)
    quarantined: dict[str, list[Quarantined]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for clip in self.clips:
            self.align_and_encode(clip)

    def align_and_encode(self, clip: Clip) -> None:
        """Adds the quality row, the index row and the features of a clip."""
        steps = Grid.covering(DURATION_S, RATE_HZ).num_steps
        coverage = [(modality, 1.0) for modality in sorted(self.encoders)]
        self.quality.append(
            {
                "clip_id": clip.clip_id,
                "content_sha256": clip.content_sha256,
                "passed": True,
                "duration_s": DURATION_S,
                "offset_s": 0.0,
                "drift_s_per_min": 0.0,
                "frame_rate_hz": 25.0,
                "frame_interval_cv": 0.0,
                "coverage": coverage,
                "speech_fraction": 0.8,
                "notes": [],
            }
        )
        keys = []
        for modality, encoder in sorted(self.encoders.items()):
            key = feature_key(clip.content_sha256, ALIGNMENT, encoder["fingerprint"])
            rng = np.random.default_rng(int(key[:8], 16))
            values = rng.standard_normal((steps, encoder["width"])).astype(np.float32)
            self.features.setdefault(modality, {})[key] = Encoded(values, np.ones(steps, dtype=bool))
            keys.append((modality, key))
        self.index.append(
            {
                "clip_id": clip.clip_id,
                "content_sha256": clip.content_sha256,
                "num_steps": steps,
                "rate_hz": RATE_HZ,
                "duration_s": DURATION_S,
                "keys": keys,
                "coverage": coverage,
            }
        )

    def change_clip(self, position: int, **fields: Any) -> str:
        """Changes one clip row and returns its id."""
        self.clips[position] = replace(self.clips[position], **fields)
        return self.clips[position].clip_id

    def change_features(self, position: int, modality: str, change: Callable[[Encoded], Encoded]) -> str:
        """Changes one clip's stored features and returns its id."""
        key = dict(self.index[position]["keys"])[modality]
        self.features[modality][key] = change(self.features[modality][key])
        return str(self.index[position]["clip_id"])

    def write(self, layout: Layout) -> Layout:
        """Writes the three folders."""
        folders = {
            "datasets": layout.dataset(self.dataset),
            "alignment": layout.aligned(self.dataset),
            "features": layout.features(self.dataset),
        }
        write_table(folders["datasets"] / "clips.parquet", clip_table(self.clips))
        write_table(folders["alignment"] / "quality.parquet", pa.Table.from_pylist(self.quality, schema=QUALITY_SCHEMA))
        write_table(folders["features"] / "index.parquet", pa.Table.from_pylist(self.index, schema=INDEX_SCHEMA))
        write_json(folders["alignment"] / "summary.json", {"alignment_fingerprint": self.alignment_fingerprint})
        write_json(
            folders["features"] / "summary.json",
            {"alignment_fingerprints": [ALIGNMENT], "encoders": self.encoders},
        )
        for stage, folder in folders.items():
            write_table(folder / "quarantine.parquet", quarantine_table(self.quarantined.get(stage, [])))
        store = FeatureStore(folders["features"])
        for modality, encoded in self.features.items():
            store.write(modality, encoded)
        return layout
