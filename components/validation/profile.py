"""The profile of a dataset: a summary in a few hundred numbers that later versions of it are compared with.

It identifies no person: it contains the number of people and how evenly the clips are spread over them, but no names,
because it is committed and outlives a withdrawal of consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from components.contracts.columns import places_of, values_by_key
from components.features.store import FeatureStore
from components.validation.accepted import clips_by_name
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
    people = pc.value_counts(accepted["subject_id"]).field("counts").to_numpy()
    quality = upstream.quality
    speech = quality["speech_fraction"].filter(pa.array(places_of(quality["clip_id"], accepted["clip_id"]) >= 0))
    return {
        "dataset": upstream.dataset,
        "clips": clips,
        "people": len(people),
        "effective_people": _short(effective_number(people)) if people.size else 0.0,
        "emotions": clips_by_name(accepted, str),
        "duration_s": _quantiles(accepted["duration_s"]),
        "speech_fraction": _quantiles(speech.drop_null()),
        "coverage": {
            modality: _quantiles(pc.map_lookup(accepted["coverage"], modality, "last").fill_null(0.0))
            for modality in sorted(upstream.encoders)
        },
        "features": _features(upstream, accepted, store),
    }


def effective_number(counts: ArrayLike) -> float:
    """The number of people with equally many clips that would be as diverse: 1 / Σ p² (Hill 1973, order 2).

    It is the number of people when all have equally many clips, and near 1 when one person has nearly all.
    """
    clips = np.asarray(counts, dtype=np.float64)
    shares = clips / clips.sum()
    return float(1 / np.square(shares).sum())


def _features(upstream: Upstream, accepted: pa.Table, store: FeatureStore) -> dict[str, Any]:
    out = {}
    for modality, clip_keys in sorted(values_by_key(accepted["keys"]).items()):
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
