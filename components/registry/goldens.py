"""Golden examples: transformed inputs of a few test clips and the posteriors that the evaluated model gave for them.

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


def outputs(scored: Scored) -> dict[str, NDArray[np.float32]]:
    """The posteriors of a clip by name."""
    unimodal = {f"{UNIMODAL}{name}": value for name, value in scored.unimodal_posterior.items()}
    return {STEP: scored.step_posterior, CLIP: scored.clip_posterior, **unimodal}


def worst_deviation(golden: Golden, scorer: Scorer) -> tuple[float, str]:
    """(largest absolute deviation, the output it is in); infinite when an output is missing, has a different shape, or
    contains NaN."""
    actual, expected = outputs(scorer.score(golden.features, golden.masks)), golden.expected
    worst, place = 0.0, CLIP
    for name in sorted(actual.keys() | expected.keys()):
        if name not in actual or name not in expected or actual[name].shape != expected[name].shape:
            return float("inf"), name
        deviation = float(np.abs(actual[name].astype(np.float64) - expected[name]).max(initial=0.0))
        if np.isnan(deviation):
            return float("inf"), name
        if deviation > worst:
            worst, place = deviation, name
    return worst, place


def save_goldens(folder: Path, goldens: Sequence[Golden]) -> None:
    """Writes `golden.safetensors` and `golden.json`, each atomically."""
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {}
    for index, golden in enumerate(goldens):
        for name in golden.features:
            tensors[f"{index}.features.{name}"] = np.ascontiguousarray(golden.features[name], dtype=np.float32)
            tensors[f"{index}.masks.{name}"] = np.ascontiguousarray(golden.masks[name], dtype=np.uint8)
        for name, value in golden.expected.items():
            tensors[f"{index}.expected.{name}"] = np.ascontiguousarray(value, dtype=np.float32)
    with atomic_file(folder / GOLDEN_TENSORS) as beside:
        save_file(tensors, beside)
    entries = [
        {"name": golden.name, "modalities": sorted(golden.features), "expected": sorted(golden.expected)}
        for golden in goldens
    ]
    write_json(folder / GOLDEN_JSON, {"goldens": entries})


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


def _golden(index: int, entry: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Golden:
    return Golden(
        name=str(entry["name"]),
        features={name: tensors[f"{index}.features.{name}"] for name in entry["modalities"]},
        masks={name: tensors[f"{index}.masks.{name}"].astype(bool) for name in entry["modalities"]},
        expected={name: tensors[f"{index}.expected.{name}"] for name in entry["expected"]},
    )
