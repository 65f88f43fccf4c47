"""The answers of one training of a cross-validation to the clips outside its training split, as values and as a file.

The file holds tensors and JSON (safetensors), so that reading it runs no code. Legend: N items, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.atomic import atomic_file

# The answer to every item, with all the modalities that the variant may use.
ALL = "all"
# The test split once more, each of its datasets standardised by its own recordings (`Fold.adapts`).
ADAPTED = "adapted"
SPLITS = ("calibration", "test", ADAPTED)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Posteriors of the labelled items of one split at one level.

    Attributes:
        clips: the clip ids of the split, sorted.
        clip: (N,) the clip of each item: an index into `clips`.
        truth: (N,) class index.
        posterior: `ALL`, and patterns such as "face+voice" (as if only these had been recorded) → (N, K) float32,
            calibrated. Rows of a pattern of which a clip has nothing are NaN; `ALL` has none: where a variant has
            no modality it answers with the class frequencies of its training clips.
        unimodal: modality → (N, K) float32, its own calibrated opinion; NaN where it is absent.
    """

    clips: tuple[str, ...]
    clip: NDArray[np.int64]
    truth: NDArray[np.int64]
    posterior: Mapping[str, NDArray[np.float32]]
    unimodal: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """One training of one variant on one fold with one seed.

    Attributes:
        answers: (split, level) → its answers; splits as in `SPLITS`, levels "clip" and "step".
        prior: level → (K,) class frequencies of the training split.
        facts: background for the reader, as JSON: core seconds, parameters, clips, code.
    """

    answers: Mapping[tuple[str, str], Answers]
    prior: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, Any]


def save_result(path: Path, result: FoldResult) -> None:
    """Writes a result as one file that appears complete or not at all."""
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {f"prior/{level}": value for level, value in result.prior.items()}
    clips = {}
    for (split, level), answers in result.answers.items():
        place = f"{split}/{level}"
        clips[place] = list(answers.clips)
        tensors[f"{place}/clip"], tensors[f"{place}/truth"] = answers.clip, answers.truth
        tensors.update({f"{place}/posterior/{name}": value for name, value in answers.posterior.items()})
        tensors.update({f"{place}/unimodal/{name}": value for name, value in answers.unimodal.items()})
    plain = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with atomic_file(path) as beside:
        save_file(plain, beside, metadata={"clips": json.dumps(clips), "facts": json.dumps(dict(result.facts))})


def load_result(path: Path) -> FoldResult | None:
    """The result that `save_result` wrote; None when it is missing or damaged, so that it is computed again."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            clips, facts = json.loads(metadata["clips"]), json.loads(metadata["facts"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        answers = {(split, level): _answers(f"{split}/{level}", clips, tensors) for split, level in _places(clips)}
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    prior = {name.removeprefix("prior/"): value for name, value in tensors.items() if name.startswith("prior/")}
    return FoldResult(answers=answers, prior=prior, facts=facts)


def _places(clips: Mapping[str, Any]) -> list[tuple[str, str]]:
    places = []
    for place in sorted(clips):
        split, _, level = place.partition("/")
        places.append((split, level))
    return places


def _answers(place: str, clips: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Answers:
    def below(kind: str) -> dict[str, NDArray[np.float32]]:
        start = f"{place}/{kind}/"
        return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}

    return Answers(
        clips=tuple(clips[place]),
        clip=tensors[f"{place}/clip"],
        truth=tensors[f"{place}/truth"],
        posterior=below("posterior"),
        unimodal=below("unimodal"),
    )
