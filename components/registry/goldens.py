"""Golden examples: transformed inputs of a few test clips and the outputs that the evaluated model gave for them.

Every process that loads the model scores them again before its first request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from components.contracts.atomic import atomic_file, write_json
from components.contracts.errors import BundleError
from components.inference.scoring import Scored, Scorer
from components.model.spec import ModelSpec

GOLDEN_TENSORS = "golden.safetensors"
GOLDEN_JSON = "golden.json"
MAX_GOLDENS = 64
STEP, CLIP, UNIMODAL = "step", "clip", "unimodal."
MOOD, STEP_MOOD, CONFLICT = "valence_arousal", "step_valence_arousal", "conflict"
# Bundles of before they were recorded lack these; there they must only be numbers in their range.
LATER = frozenset({MOOD, STEP_MOOD, CONFLICT})
# Where fewer than two modalities have an opinion there is no conflict, which is never below 0.
NO_CONFLICT = -1.0
# Valence and arousal are in [-1, 1], and a conflict is a distance of at most 1 between posteriors.
LARGEST = 1.0 + 1e-6


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One example: `features` {m: (T, D)}, `masks` {m: (T,)}, and `expected` outputs by name."""

    name: str
    features: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    expected: Mapping[str, NDArray[np.float32]]

    @classmethod
    def record(
        cls,
        name: str,
        features: Mapping[str, NDArray[np.float32]],
        masks: Mapping[str, NDArray[np.bool_]],
        scorer: Scorer,
    ) -> Golden:
        """The example of a clip, with the outputs of `scorer`."""
        return cls(name=name, features=features, masks=masks, expected=outputs(scorer.score(features, masks)))


@dataclass(frozen=True, kw_only=True)
class GoldenClip:
    """A media file with its transcript, and by name what the whole way from it must give (`golden_clip.py`): `clip`
    and `unimodal.<modality>` (K,), and `presence.<modality>` (1,), the share of steps that have it."""

    media: bytes
    transcript: str
    expected: Mapping[str, NDArray[np.float32]]


def outputs(scored: Scored) -> dict[str, NDArray[np.float32]]:
    """What every head of the model gives for a clip, by name; `conflict` (T,) comes from its heads of single modalities
    at each step."""
    heads = {
        STEP: scored.step_posterior,
        CLIP: scored.clip_posterior,
        **{f"{UNIMODAL}{name}": value for name, value in scored.unimodal_posterior.items()},
        MOOD: scored.valence_arousal,
        STEP_MOOD: scored.step_valence_arousal,
        CONFLICT: None if scored.moments is None else _conflict(scored.moments.conflict),
    }
    return {name: value for name, value in heads.items() if value is not None}


def _conflict(conflict: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.where(np.isnan(conflict), NO_CONFLICT, conflict).astype(np.float32)


def worst_deviation(golden: Golden, scorer: Scorer) -> tuple[float, str]:
    """(largest absolute deviation, the output it is in); infinite when an output is missing, has a different shape, is
    not a number, or, of those that bundles of before lack (`LATER`), is out of its range."""
    actual, expected = outputs(scorer.score(golden.features, golden.masks)), golden.expected
    worst, place = 0.0, CLIP
    for name in sorted(actual.keys() | expected.keys()):
        if name in LATER and name not in expected:
            if not (np.abs(actual[name]) <= LARGEST).all():  # False for NaN
                return float("inf"), name
            continue
        if name not in actual or name not in expected or actual[name].shape != expected[name].shape:
            return float("inf"), name
        deviation = float(np.abs(actual[name].astype(np.float64) - expected[name]).max(initial=0.0))
        if np.isnan(deviation):
            return float("inf"), name
        if deviation > worst:
            worst, place = deviation, name
    return worst, place


def save_goldens(folder: Path, goldens: Sequence[Golden], clip: GoldenClip | None = None) -> None:
    """Writes `golden.safetensors` and `golden.json`, each atomically."""
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {}
    for index, golden in enumerate(goldens):
        for name in golden.features:
            tensors[f"{index}.features.{name}"] = np.ascontiguousarray(golden.features[name], dtype=np.float32)
            tensors[f"{index}.masks.{name}"] = np.ascontiguousarray(golden.masks[name], dtype=np.uint8)
        for name, value in golden.expected.items():
            tensors[f"{index}.expected.{name}"] = np.ascontiguousarray(value, dtype=np.float32)
    if clip is not None:
        tensors["clip.media"] = np.frombuffer(clip.media, dtype=np.uint8)
        tensors.update({f"clip.expected.{name}": np.ascontiguousarray(value) for name, value in clip.expected.items()})
    with atomic_file(folder / GOLDEN_TENSORS) as beside:
        save_file(tensors, beside)
    entries = [
        {"name": golden.name, "modalities": sorted(golden.features), "expected": sorted(golden.expected)}
        for golden in goldens
    ]
    described: dict[str, Any] = {"goldens": entries}
    if clip is not None:
        described["clip"] = {"transcript": clip.transcript, "expected": sorted(clip.expected)}
    write_json(folder / GOLDEN_JSON, described)


def load_goldens(folder: Path, spec: ModelSpec) -> tuple[Golden, ...]:
    """Reads the files of `save_goldens`. Raises BundleError if one is missing, damaged, or of a different model."""
    from safetensors.numpy import load_file

    try:
        entries = json.loads((folder / GOLDEN_JSON).read_text(encoding="utf-8"))["goldens"]
        tensors = load_file(folder / GOLDEN_TENSORS)
        goldens = tuple(_golden(index, entry, tensors) for index, entry in enumerate(entries[:MAX_GOLDENS]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BundleError("cannot read the golden examples", where=folder.name, seen=str(error)) from error
    for golden in goldens:
        widths = {name: values.shape[-1] for name, values in golden.features.items()}
        if widths != dict(spec.modalities):
            raise BundleError(
                "a golden example does not fit the model", where=golden.name, seen=widths, allowed=dict(spec.modalities)
            )
    return goldens


def load_golden_clip(folder: Path) -> GoldenClip | None:
    """The golden clip of a bundle; None in one of before. Raises BundleError if it is damaged."""
    from safetensors.numpy import load_file

    try:
        entry = json.loads((folder / GOLDEN_JSON).read_text(encoding="utf-8")).get("clip")
        if entry is None:
            return None
        tensors = load_file(folder / GOLDEN_TENSORS)
        return GoldenClip(
            media=tensors["clip.media"].astype(np.uint8).tobytes(),
            transcript=str(entry["transcript"]),
            expected={str(name): tensors[f"clip.expected.{name}"] for name in entry["expected"]},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BundleError("cannot read the golden clip", where=folder.name, seen=str(error)) from error


def _golden(index: int, entry: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Golden:
    return Golden(
        name=str(entry["name"]),
        features={name: tensors[f"{index}.features.{name}"] for name in entry["modalities"]},
        masks={name: tensors[f"{index}.masks.{name}"].astype(bool) for name in entry["modalities"]},
        expected={name: tensors[f"{index}.expected.{name}"] for name in entry["expected"]},
    )
