"""What trainings are timed on: clips in memory that workers make for themselves, and a catalog on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bench.made import CLASSES, cases, spec, widths_of
from components.catalog.cases import Case
from components.catalog.rows import CATALOG_SCHEMA
from components.contracts.atomic import write_json, write_table
from components.contracts.config import MODALITIES, Model, Train
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.features.base import Encoded
from components.features.store import FeatureStore
from components.training.loop import TrainingTask

NAME = "made"
FACE_AND_VOICE = ("face", "voice")
RATE_HZ = 10.0
SHARD_CLIPS = 256


def task_of(*, batch_clips: int, epochs: int, width: int = Model().width) -> TrainingTask:
    """The default training on `FACE_AND_VOICE`, with a model of that width."""
    train = Train(batch_clips=batch_clips, epochs=epochs, contrastive_loss=0.0)
    return TrainingTask(spec=spec(widths_of(FACE_AND_VOICE), width=width), train=train, seed=0)


@dataclass(frozen=True, kw_only=True)
class MadeClips:
    """Clips to train on, none to hold out; every worker makes the same ones."""

    clips: int
    steps: int
    widths: Mapping[str, int]

    def __call__(self, split: str) -> Sequence[Case]:
        """Those of a split."""
        return cases(self.clips, steps=self.steps, widths=self.widths) if split == "train" else []


def write_catalog(
    layout: Layout,
    *,
    clips: int,
    distinct: int,
    steps: int,
    names: Sequence[str] = MODALITIES,
    splits: Sequence[str] = ("train",),
) -> None:
    """A catalog of `clips` clips whose features are those of `distinct` ones, over and over; `splits` in turn."""
    widths = widths_of(names)
    made = cases(distinct, steps=steps, widths=widths)
    keys = [{name: _key(case.clip_id, name) for name in widths} for case in made]
    store = FeatureStore(layout.features(NAME))
    for first in range(0, distinct, SHARD_CLIPS):
        part = range(first, min(first + SHARD_CLIPS, distinct))
        for name in widths:
            store.write(name, {keys[at][name]: Encoded(made[at].features[name], made[at].masks[name]) for at in part})
    rows = [
        _row(index, made[index % distinct], keys[index % distinct], splits[index % len(splits)])
        for index in range(clips)
    ]
    write_table(layout.catalog / "catalog.parquet", pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA))
    described = {
        "sha256": fingerprint([clips, distinct, steps]),
        "classes": list(CLASSES),
        "datasets": {NAME: fingerprint([clips])},
        "encoders": {name: {"spec": NAME, "fingerprint": "0", "width": width} for name, width in widths.items()},
    }
    write_json(layout.catalog / "catalog.json", described)


def _key(clip_id: str, name: str) -> str:
    return hashlib.sha256(f"{clip_id} {name}".encode()).hexdigest()


def _row(index: int, case: Case, keys: Mapping[str, str], split: str) -> dict[str, Any]:
    return {
        "clip_id": f"{NAME}/{index:06d}",
        "dataset": NAME,
        "content_sha256": hashlib.sha256(str(index).encode()).hexdigest(),
        "subject_id": f"{case.subject_id}-{split}",
        "session_id": case.subject_id,
        "split": split,
        "label": CLASSES[case.clip_label],
        "segments": [],
        "keys": sorted(keys.items()),
        "num_steps": case.steps,
        "rate_hz": RATE_HZ,
        "duration_s": case.steps / RATE_HZ,
        "groups": [],
        "planted": [],
        "valence": None,
        "arousal": None,
        "text_id": None,
    }
