"""What corpora call their own splits."""

from __future__ import annotations

from collections.abc import Mapping

CORPUS_SPLITS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "dev": "calibration",
    "val": "calibration",
    "valid": "calibration",
    "validation": "calibration",
    "test": "test",
}
