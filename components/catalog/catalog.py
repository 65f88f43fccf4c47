"""The catalog: the exact list of clips a model is trained, calibrated and tested on, and the hashes that pin it.

It is rebuilt from the datasets that `params.yaml` names, and from nothing else, so removed data cannot stay in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from components.catalog.assign import assign, shared_subjects
from components.catalog.rows import CATALOG_SCHEMA, catalog_row, classes_of, split_summary
from components.catalog.splits import SPLITS
from components.catalog.texts import splits_of_texts
from components.contracts.config import Catalog
from components.contracts.errors import DataError
from components.contracts.fingerprint import fingerprint
from components.contracts.labels import Taxonomy
from components.features.encoders.given import is_given

ENCODE_ALIKE = "Run the features stage of every dataset with one configuration: `mer run`"
RENAME = (
    "One of them provides {modality} as given features. Features of different origin are different modalities: rename "
    "their file, for example to {modality}_2"
)

NO_CLASS = "the taxonomy has no class for its labels"
OTHER_SPLIT = "its person and its text are in different splits"


@dataclass(frozen=True, kw_only=True)
class Validated:
    """The output of validation for one dataset: ACCEPTED_SCHEMA rows and `result.json`."""

    dataset: str
    accepted: pa.Table
    result: Mapping[str, Any]


def build(
    datasets: Sequence[Validated], taxonomy: Taxonomy, config: Catalog, seed: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Joins datasets into one catalog.

    Returns:
        (CATALOG_SCHEMA rows sorted by clip id, the content of `catalog.json`). `sha256` covers every row; the hash of a
        dataset covers its rows without their splits, so it changes only with the *data*.

    Raises:
        DataError: datasets were aligned or encoded differently; a clip id occurs twice; the splits cannot be made.
    """
    encoders = _same_encoders(datasets)
    alignment = _same_alignment(datasets)
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    corpus_splits: dict[str, str | None] = {}
    for dataset in datasets:
        for accepted in dataset.accepted.to_pylist():
            row = catalog_row(accepted, taxonomy)
            if row is None:
                left_out.append({"clip_id": accepted["clip_id"], "emotion": accepted["emotion"], "why": NO_CLASS})
                continue
            if row["clip_id"] in corpus_splits:
                raise DataError(
                    "a clip id occurs twice", where=dataset.dataset, seen=row["clip_id"], remedy="Rename one dataset"
                )
            corpus_splits[row["clip_id"]] = accepted["split"]
            rows.append(row)
    rows.sort(key=lambda row: row["clip_id"])
    hashes = {
        dataset.dataset: fingerprint([row for row in rows if row["dataset"] == dataset.dataset])
        for dataset in sorted(datasets, key=lambda dataset: dataset.dataset)
    }
    split_of = assign(rows, corpus_splits, config, seed)
    for row in rows:
        if row["clip_id"] not in split_of:
            left_out.append({"clip_id": row["clip_id"], "emotion": row["label"], "why": OTHER_SPLIT})
    rows = [{**row, "split": split_of[row["clip_id"]]} for row in rows if row["clip_id"] in split_of]
    present = {name for row in rows for name in classes_of(row)}
    shared = shared_subjects(rows, split_of)
    texts = splits_of_texts(rows, split_of)
    description = {
        "sha256": fingerprint([taxonomy.name, list(taxonomy.classes), rows]),
        "taxonomy": taxonomy.to_json(),
        "classes": list(taxonomy.classes),
        # A model must not predict classes without examples: these have no clip in any split.
        "absent_classes": [name for name in taxonomy.classes if name not in present],
        "datasets": hashes,
        "encoders": encoders,
        "alignment_fingerprint": alignment,
        "validation": {dataset.dataset: dataset.result["fingerprint"] for dataset in datasets},
        "splits": split_summary(rows, SPLITS, taxonomy.classes),
        "subject_disjoint": not shared,
        "shared_subjects": shared,
        "texts": len(texts),
        "shared_texts": {text: splits for text, splits in texts.items() if len(splits) > 1},
        "readmitted": [decision for dataset in datasets for decision in dataset.result.get("readmitted", ())],
        "left_out": sorted(left_out, key=lambda clip: clip["clip_id"]),
    }
    return pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA), description


def _same_alignment(datasets: Sequence[Validated]) -> str:
    fingerprints = {dataset.dataset: dataset.result["alignment_fingerprint"] for dataset in datasets}
    if len(set(fingerprints.values())) > 1:
        raise DataError(
            "datasets were aligned differently",
            where="catalog",
            seen=", ".join(f"{name}: {str(value)[:12]}" for name, value in sorted(fingerprints.items())),
            allowed="one alignment fingerprint",
            remedy="Run the alignment stage of every dataset with one configuration: `mer run`",
        )
    return str(next(iter(fingerprints.values())))


def _same_encoders(datasets: Sequence[Validated]) -> dict[str, Any]:
    encoders: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for dataset in datasets:
        used = {modality for keys in dataset.accepted.column("keys").to_pylist() for modality, _ in keys}
        for modality in sorted(used & set(dataset.result["encoders"])):
            encoder = dataset.result["encoders"][modality]
            first_encoder = encoders.setdefault(modality, dict(encoder))
            first_dataset = origin.setdefault(modality, dataset.dataset)
            if first_encoder != encoder:
                any_given = is_given(first_encoder["spec"]) or is_given(encoder["spec"])
                raise DataError(
                    f"datasets were encoded differently: {modality}",
                    where="catalog",
                    seen=f"{first_dataset}: {_encoder(first_encoder)}; {dataset.dataset}: {_encoder(encoder)}",
                    allowed="one encoder per modality",
                    remedy=RENAME.format(modality=modality) if any_given else ENCODE_ALIKE,
                )
    for dataset in datasets:
        for modality, encoder in dataset.result["encoders"].items():
            encoders.setdefault(modality, dict(encoder))  # configured, but without clips
    return dict(sorted(encoders.items()))


def _encoder(encoder: Mapping[str, Any]) -> str:
    return f"{encoder['spec']} ({str(encoder['fingerprint'])[:12]}, width {encoder['width']})"
