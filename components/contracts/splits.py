"""The names that corpora give their own splits, and the project's split for each."""

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
