"""The profile of a dataset: a summary in a few hundred numbers that later versions of it are compared with.

It identifies no person: it contains the number of people and how evenly the clips are spread over them, but no names,
because it is committed and outlives a withdrawal of consent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from components.features.store import FeatureStore
from components.validation.measure import FeatureMoments, moments_of
from components.validation.upstream import Upstream

# A distribution is kept as its quantiles, from the least to the greatest value.
QUANTILES = np.linspace(0, 1, 21)
DIGITS = 6


def profile(upstream: Upstream, accepted: pa.Table, store: FeatureStore) -> dict[str, Any]:
    """The summary of the accepted clips.

    Returns:
        clips, people, effective_people (see `effective_number`), emotions (name → clips in which it occurs), duration_s
        and speech_fraction and, by modality, coverage (quantiles), and features (by modality: the encoder and alignment
        that made them, clips, mean and deviation of each of the D features over all valid steps).
    """
    clips = accepted.num_rows
    people = Counter(accepted.column("subject_id").to_pylist())
    kept = set(accepted.column("clip_id").to_pylist())
    coverage: dict[str, list[float]] = {modality: [] for modality in sorted(upstream.encoders)}
    for shares in accepted.column("coverage").to_pylist():
        share_of = dict(shares)
        for modality, values in coverage.items():
            values.append(share_of.get(modality, 0.0))
    speech = [
        row["speech_fraction"]
        for row in upstream.quality.select(["clip_id", "speech_fraction"]).to_pylist()
        if row["clip_id"] in kept and row["speech_fraction"] is not None
    ]
    return {
        "dataset": upstream.dataset,
        "clips": clips,
        "people": len(people),
        "effective_people": _short(effective_number(list(people.values()))) if people else 0.0,
        "emotions": _emotions(accepted),
        "duration_s": _quantiles(accepted.column("duration_s").to_pylist()),
        "speech_fraction": _quantiles(speech),
        "coverage": {modality: _quantiles(values) for modality, values in coverage.items()},
        "features": _features(upstream, accepted, store),
    }


def effective_number(counts: Collection[int]) -> float:
    """The number of people with equally many clips that would be as diverse: 1 / Σ p² (Hill 1973, order 2).

    It is the number of people when all have equally many clips, and near 1 when one person has nearly all.
    """
    shares = np.asarray(list(counts), dtype=np.float64) / sum(counts)
    return float(1 / np.square(shares).sum())


def _emotions(accepted: pa.Table) -> dict[str, int]:
    counts: Counter[str] = Counter()
    columns = (accepted.column(name).to_pylist() for name in ("emotion", "segments"))
    for emotion, segments in zip(*columns, strict=True):
        counts.update(
            {name for name in (emotion, *(segment["emotion"] for segment in segments or ())) if name is not None}
        )
    return dict(sorted(counts.items()))


def _features(upstream: Upstream, accepted: pa.Table, store: FeatureStore) -> dict[str, Any]:
    keys: dict[str, set[str]] = {modality: set() for modality in sorted(upstream.encoders)}
    for row in accepted.column("keys").to_pylist():
        for modality, key in row:
            keys[modality].add(key)
    out = {}
    for modality, clip_keys in keys.items():
        moments = moments_of(store, modality, clip_keys)
        if moments is not None:
            out[modality] = _feature(
                upstream.encoders[modality], upstream.alignment_fingerprint, moments, len(clip_keys)
            )
    return out


def _feature(encoder: Mapping[str, Any], alignment: str, moments: FeatureMoments, clips: int) -> dict[str, Any]:
    return {
        "encoder": encoder["fingerprint"],
        "alignment": alignment,
        "clips": clips,
        "mean": [_short(value) for value in moments.mean],
        "deviation": [_short(value) for value in moments.deviation],
    }


def _quantiles(values: ArrayLike) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    return [_short(value) for value in np.quantile(array, QUANTILES)] if array.size else []


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
