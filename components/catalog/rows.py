"""Catalog rows: one per accepted clip, labelled with the classes of the taxonomy."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from components.catalog.splits import Subject
from components.contracts.labels import Taxonomy
from components.contracts.records import CLIP_SCHEMA

CATALOG_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field(
            "segments",
            pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("label", pa.string())])),
            nullable=False,
        ),
        pa.field("keys", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("num_steps", pa.int32(), nullable=False),
        pa.field("rate_hz", pa.float64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        CLIP_SCHEMA.field("groups"),
        CLIP_SCHEMA.field("planted"),
        pa.field("valence", pa.float64()),
        pa.field("arousal", pa.float64()),
        pa.field("text_id", pa.string()),
    ]
)

_AS_ACCEPTED = (
    "clip_id",
    "dataset",
    "content_sha256",
    "subject_id",
    "session_id",
    "num_steps",
    "rate_hz",
    "duration_s",
    "text_id",
)


def catalog_row(accepted: Mapping[str, Any], taxonomy: Taxonomy) -> dict[str, Any] | None:
    """The row of an accepted clip, without `split`; None when the taxonomy has no class for any of its labels."""
    emotion = accepted["emotion"]
    segments = []
    for segment in accepted["segments"] or ():
        label = taxonomy.class_of(segment["emotion"])
        if label is not None:
            segments.append({"start_s": segment["start_s"], "end_s": segment["end_s"], "label": label})
    label = None if emotion is None else taxonomy.class_of(emotion)
    if label is None and not segments:
        return None
    row = {name: accepted[name] for name in _AS_ACCEPTED}
    return {
        **row,
        "label": label,
        "segments": sorted(segments, key=lambda segment: (segment["start_s"], segment["end_s"])),
        "keys": sorted(accepted["keys"]),
        "groups": sorted(accepted["groups"] or ()),
        "planted": list(accepted["planted"] or ()),
        "valence": _number(accepted["valence"]),
        "arousal": _number(accepted["arousal"]),
    }


def classes_of(row: Mapping[str, Any]) -> set[str]:
    """The classes that occur in a clip: its label and those of its segments."""
    labels = {segment["label"] for segment in row["segments"]}
    return labels if row["label"] is None else labels | {row["label"]}


def subjects_of(rows: Iterable[Mapping[str, Any]]) -> list[Subject]:
    """All subjects of the rows, sorted by id."""
    datasets: dict[str, set[str]] = defaultdict(set)
    clips: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        datasets[row["subject_id"]].add(row["dataset"])
        clips[row["subject_id"]].update(classes_of(row))
    return [
        Subject(
            subject_id=name, datasets=tuple(sorted(datasets[name])), clips_per_class=dict(sorted(clips[name].items()))
        )
        for name in sorted(datasets)
    ]


def split_summary(rows: Sequence[Mapping[str, Any]], splits: Iterable[str], classes: Iterable[str]) -> dict[str, Any]:
    """Per split: clips, subjects, and the clips in which each class occurs."""
    names = list(classes)
    out = {}
    for split in splits:
        inside = [row for row in rows if row["split"] == split]
        counts = Counter(name for row in inside for name in classes_of(row))
        out[split] = {
            "clips": len(inside),
            "subjects": len({row["subject_id"] for row in inside}),
            "per_class": {name: counts[name] for name in names},
        }
    return out


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
