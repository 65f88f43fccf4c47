"""Tiny feature folders for the adapter `feature_table`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TERMS = {"licence": "CC0", "consent": "synthetic"}
EMOTIONS = ("anger", "fear", "happiness")

Arrays = Mapping[str, NDArray[np.generic]]


def write_features(folder: Path, table: str, arrays: Mapping[str, Arrays], **about: object) -> Path:
    """A folder with `clips.csv`, one npz a modality, and `features.json` with the terms and what else is said."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clips.csv").write_text(table)
    for modality, of_clip in arrays.items():
        np.savez(folder / f"{modality}.npz", **dict(of_clip))
    (folder / "features.json").write_text(json.dumps({**TERMS, **about}))
    return folder


def separable(
    subjects: int, clips_a_subject: int, *, steps: int = 1, widths: Sequence[int] = (6, 4), seed: int = 0
) -> tuple[str, dict[str, dict[str, NDArray[np.float32]]]]:
    """(table, arrays) of three emotions that lie apart in both modalities, `face_au` and `prosody`."""
    rng = np.random.default_rng(seed)
    lines = ["clip_id,subject_id,label,group_gender"]
    arrays: dict[str, dict[str, NDArray[np.float32]]] = {"face_au": {}, "prosody": {}}
    for subject in range(subjects):
        for clip in range(clips_a_subject):
            emotion = clip % len(EMOTIONS)
            name = f"p{subject:02d}_c{clip}"
            lines.append(f"{name},p{subject:02d},{EMOTIONS[emotion]},{'fm'[subject % 2]}")
            for width, of_clip in zip(widths, arrays.values(), strict=True):
                values = rng.standard_normal((steps, width))
                values[:, emotion] += 3.0
                of_clip[name] = values.astype(np.float32)
    return "\n".join(lines) + "\n", arrays
