"""A catalog on disk, made of toy clips, as the stages before training would leave it."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from components.catalog.cases import Case
from components.catalog.rows import CATALOG_SCHEMA
from components.contracts.atomic import write_json, write_table
from components.contracts.config import Params
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.features.base import Encoded
from components.features.store import FeatureStore
from tests.model.toys import CLASSES, WIDTHS, Toy

TINY = Toy(clips=16, steps=(8, 12), noise=0.7)
CLASSES_AND_ONE = (*CLASSES, "never")


def tiny_params(uri: str, experiment: str, **train: Any) -> Params:
    """Few epochs of a small model in this process."""
    return Params.model_validate(
        {
            "datasets": ["toy"],
            "model": {"width": 16, "heads": 2, "tcn_blocks": 2},
            "train": {"epochs": 3, "batch_clips": 6, **train},
            "runtime": {"workers": 0, "checkpoint_steps": 1},
            "tracking": {"uri": uri, "experiment": experiment},
        }
    )


def write_catalog(layout: Layout, toy: Toy = TINY) -> None:
    """Feature shards of one dataset, `catalog.parquet`, `catalog.json` and a validation result."""
    rows: list[dict[str, Any]] = []
    encoded: dict[str, dict[str, Encoded]] = {name: {} for name in WIDTHS}
    for split in ("train", "calibration", "test"):
        for item in toy.items(split):
            keys = {}
            for name, mask in item.masks.items():
                if mask.any():
                    keys[name] = hashlib.sha256(f"{item.clip_id} {name}".encode()).hexdigest()
                    encoded[name][keys[name]] = Encoded(item.features[name] * 3 + 1, mask)
            rows.append(row_of(item, split, keys))
    store = FeatureStore(layout.features("toy"))
    for name, clips in encoded.items():
        store.write(name, clips)
    rows.sort(key=lambda row: row["clip_id"])
    write_table(layout.catalog / "catalog.parquet", pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA))
    described = {
        "sha256": fingerprint(rows),
        "taxonomy": "toy",
        "classes": list(CLASSES_AND_ONE),
        "absent_classes": ["never"],
        "datasets": {"toy": fingerprint([row["clip_id"] for row in rows])},
        "encoders": {name: {"spec": "toy", "fingerprint": "0", "width": width} for name, width in WIDTHS.items()},
        "alignment_fingerprint": "0" * 64,
        "splits": {split: {"clips": toy.clips, "subjects": 3} for split in ("train", "calibration", "test")},
        "texts": 0,
        "shared_texts": {},
        "left_out": [],
        "readmitted": [],
        "suites": {},
    }
    write_json(layout.catalog / "catalog.json", described)
    result = {
        "success": True,
        "statistics": {"accepted": 3 * toy.clips, "subjects": 9, "set_aside": 0, "quarantined": {}},
        "suites": {},
        "readmitted": [],
        "drift": {"compared_with": None, "measures": {}, "notes": ["no earlier version was accepted"]},
        "fingerprint": "f1",
    }
    write_json(layout.validated("toy") / "result.json", result)


def row_of(item: Case, split: str, keys: dict[str, str]) -> dict[str, Any]:
    """The catalog row of a clip with a clip label alone."""
    return {
        "clip_id": item.clip_id,
        "dataset": "toy",
        "content_sha256": hashlib.sha256(item.clip_id.encode()).hexdigest(),
        "subject_id": item.subject_id,
        "session_id": item.subject_id,
        "split": split,
        "label": CLASSES[item.clip_label],
        "segments": [],
        "keys": sorted(keys.items()),
        "num_steps": item.steps,
        "rate_hz": 10.0,
        "duration_s": item.steps / 10,
        "groups": [],
        "planted": [],
        "valence": None,
        "arousal": None,
        "text_id": None,
    }
