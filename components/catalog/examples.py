"""Examples: the clips of the catalog with their features and labels, as training and evaluation read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts.atomic import read_json
from components.contracts.errors import DataError
from components.contracts.labels import UNLABELLED
from components.contracts.layout import Layout
from components.contracts.records import Planted
from components.contracts.timebase import Grid
from components.features.base import Encoded
from components.features.store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class Example:
    """One clip, ready for a transform.

    Attributes:
        clip_id, dataset, subject_id, split: as in the catalog.
        encoded: modality → `Encoded` with T = `num_steps`; without the modalities that the clip lacks.
        num_steps, rate_hz: the clip's grid.
        step_labels: (T,) int64 class index, UNLABELLED (-100) where a step has no label.
        clip_label: class index, or UNLABELLED.
        groups: demographics for slices.
        planted: the known events of a rendered corpus.
        valence, arousal: in [-1, 1], or None.
        text_id: the spoken text, for splits and slices by text.
    """

    clip_id: str
    dataset: str
    subject_id: str
    split: str
    encoded: Mapping[str, Encoded]
    num_steps: int
    rate_hz: float
    step_labels: NDArray[np.int64]
    clip_label: int
    groups: Mapping[str, str]
    planted: tuple[Planted, ...]
    valence: float | None
    arousal: float | None
    text_id: str | None = None


def load_examples(layout: Layout, *splits: str) -> list[Example]:
    """The examples of some splits (all without a name), sorted by clip id. Holds their features in memory.

    Raises:
        DataError: there is no catalog, one of its features is not in the store, or a shard of the store is damaged.
    """
    table, catalog = read_catalog(layout)
    if splits:
        table = table.filter(pc.is_in(table["split"], value_set=pa.array(splits, pa.string())))
    rows = table.to_pylist()
    features = _features(layout, rows, widths_of(catalog))
    index = {name: position for position, name in enumerate(catalog["classes"])}
    return [
        example_of(
            row, {modality: features[row["dataset"], modality, key] for modality, key in sorted(row["keys"])}, index
        )
        for row in sorted(rows, key=lambda row: row["clip_id"])
    ]


def read_catalog(layout: Layout) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of the catalog, and its description. Raises DataError: there is none."""
    path = layout.catalog / "catalog.parquet"
    if not path.is_file():
        raise DataError("there is no catalog", seen=f"no file {path}", remedy="Run `mer run`, or its stage `catalog`")
    return pq.read_table(path), dict(read_json(layout.catalog / "catalog.json"))


def widths_of(catalog: Mapping[str, Any]) -> dict[str, int]:
    """Modality → features per step, of `catalog.json`."""
    return {modality: int(encoder["width"]) for modality, encoder in catalog["encoders"].items()}


def step_labels(
    grid: Grid,
    segments: Iterable[Mapping[str, Any]],
    clip_label: int,
    observed: NDArray[np.bool_],
    index: Mapping[str, int],
) -> NDArray[np.int64]:
    """The class of each step, (T,) int64.

    With segments, a step has the label of the segment that covers its centre, and none outside all of them. Without,
    every step in which anything was observed has the clip's label: a step without any evidence of the person does not
    show it.
    """
    labels = np.full(grid.num_steps, UNLABELLED, dtype=np.int64)
    spans = list(segments)
    if not spans:
        labels[observed] = clip_label
        return labels
    centres_s = grid.centres_s
    for span in spans:
        labels[(centres_s >= span["start_s"]) & (centres_s < span["end_s"])] = index[span["label"]]
    return labels


def _features(
    layout: Layout, rows: Sequence[Mapping[str, Any]], widths: Mapping[str, int]
) -> dict[tuple[str, str, str], Encoded]:
    """(dataset, modality, key) → `Encoded`, each store and modality read once, after its shards were found whole:
    Parquet does not notice every flipped bit."""
    keys_of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for modality, key in row["keys"]:
            keys_of[row["dataset"], modality].append(key)
    features = {}
    for (dataset, modality), keys in sorted(keys_of.items()):
        store = FeatureStore(layout.features(dataset))
        store.check(modality)
        for key, encoded in store.read(modality, sorted(set(keys)), width=widths.get(modality)).items():
            features[dataset, modality, key] = encoded
    return features


def check_steps(clip_id: str, modality: str, encoded: Encoded, steps: int) -> None:
    """Raises DataError for features with a different number of steps."""
    if encoded.valid.size != steps:
        raise DataError(
            "features do not fit the clip's grid",
            where=f"{clip_id}: {modality}",
            seen=encoded.valid.size,
            allowed=steps,
            remedy="Run the features stage again",
        )


def example_of(row: Mapping[str, Any], encoded: Mapping[str, Encoded], index: Mapping[str, int]) -> Example:
    """The example of a row of the catalog, with its features by modality and the classes' numbers by name."""
    grid = Grid(rate_hz=row["rate_hz"], num_steps=row["num_steps"])
    observed = np.zeros(grid.num_steps, dtype=bool)
    for modality, stream in encoded.items():
        check_steps(row["clip_id"], modality, stream, grid.num_steps)
        observed |= stream.valid
    clip_label = UNLABELLED if row["label"] is None else index[row["label"]]
    return Example(
        clip_id=row["clip_id"],
        dataset=row["dataset"],
        subject_id=row["subject_id"],
        split=row["split"],
        encoded=encoded,
        num_steps=grid.num_steps,
        rate_hz=grid.rate_hz,
        step_labels=step_labels(grid, row["segments"], clip_label, observed, index),
        clip_label=clip_label,
        groups=dict(row["groups"] or ()),
        planted=tuple(Planted(**planted) for planted in row["planted"] or ()),
        valence=row["valence"],
        arousal=row["arousal"],
        text_id=row["text_id"],
    )
