"""The catalog: the exact list of clips a model is trained, calibrated and tested on, and the hashes that pin it.

It is rebuilt from the datasets that `params.yaml` names, and from nothing else, so removed data cannot stay in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.catalog.assign import assign, shared_subjects
from components.catalog.clips import OUT, Clips, Splits, split_summary
from components.catalog.rows import CATALOG_SCHEMA, catalog_rows, is_labelled
from components.catalog.splits import SPLITS
from components.catalog.texts import shared_texts
from components.contracts.columns import ROWS_AT_ONCE, pairs, sorted_by
from components.contracts.config import Catalog
from components.contracts.errors import DataError
from components.contracts.fingerprint import ListFingerprint
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
    rows, left_out = _rows(datasets, taxonomy)
    clips = Clips.of(rows)
    split = assign(clips, config, seed)
    hashes, sha256 = _hashes(rows, split, [dataset.dataset for dataset in datasets], taxonomy)
    kept = split != OUT
    if not kept.all():
        left_out += _left_out(rows.filter(~kept), "label", OTHER_SPLIT)
        clips, rows, split = clips[kept], rows.filter(kept), split[kept]
    shared = shared_subjects(clips, split)
    description = {
        "sha256": sha256,
        "taxonomy": taxonomy.to_json(),
        "classes": list(taxonomy.classes),
        # A model must not predict classes without examples: these have no clip in any split.
        "absent_classes": [name for name in taxonomy.classes if name not in clips.present],
        "datasets": hashes,
        "encoders": encoders,
        "alignment_fingerprint": alignment,
        "validation": {dataset.dataset: dataset.result["fingerprint"] for dataset in datasets},
        "splits": split_summary(clips, split, taxonomy.classes),
        "subject_disjoint": not shared,
        "shared_subjects": shared,
        "texts": int(clips.texts.in_splits(split).any(1).sum()),
        "shared_texts": shared_texts(clips, split),
        "readmitted": [decision for dataset in datasets for decision in dataset.result.get("readmitted", ())],
        "left_out": sorted(left_out, key=lambda clip: clip["clip_id"]),
    }
    return _assigned(rows, split), description


def _rows(datasets: Sequence[Validated], taxonomy: Taxonomy) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The rows of all datasets by clip id, with the splits that the corpora publish; and the clips without a class."""
    parts, left_out = [], []
    # Clip ids begin with the name and a slash, so in this order the whole is sorted as its parts are.
    for dataset in sorted(datasets, key=lambda dataset: f"{dataset.dataset}/"):
        part = catalog_rows(dataset.accepted, taxonomy)
        labelled = is_labelled(part)
        if not pc.all(labelled).as_py():
            left_out += _left_out(dataset.accepted.filter(pc.invert(labelled)), "emotion", NO_CLASS)
            part = part.filter(labelled)
        parts.append(part)
    rows = sorted_by(pa.concat_tables(parts), "clip_id")
    ids = rows["clip_id"]
    twice = ids[1:].filter(pc.equal(ids[1:], ids[:-1]))
    if len(twice):
        has = [dataset.dataset for dataset in datasets if pc.index(dataset.accepted["clip_id"], twice[0]).as_py() >= 0]
        raise DataError("a clip id occurs twice", where=has[-1], seen=twice[0].as_py(), remedy="Rename one dataset")
    return rows, left_out


def _assigned(rows: pa.Table, split: Splits) -> pa.Table:
    """The rows with their splits, null for `OUT`."""
    place = CATALOG_SCHEMA.get_field_index("split")
    names = pa.array(SPLITS).take(pa.array(split, mask=split == OUT))
    return rows.set_column(place, CATALOG_SCHEMA.field(place), names)


def _left_out(clips: pa.Table, emotion: str, why: str) -> list[dict[str, Any]]:
    columns = (clips[name].to_pylist() for name in ("clip_id", emotion))
    return [{"clip_id": clip_id, "emotion": name, "why": why} for clip_id, name in zip(*columns, strict=True)]


def _hashes(rows: pa.Table, split: Splits, datasets: Sequence[str], taxonomy: Taxonomy) -> tuple[dict[str, str], str]:
    """The hash of each dataset, by name, and that of the catalog."""
    own = {name: ListFingerprint() for name in sorted(datasets)}
    whole = ListFingerprint(taxonomy.name, list(taxonomy.classes))
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        assigned = _assigned(rows[part], split[part]).to_pylist()
        whole.add([row for row in assigned if row["split"] is not None])
        for row in assigned:
            del row["split"]
        for name, of_dataset in own.items():
            of_dataset.add([row for row in assigned if row["dataset"] == name])
    return {name: of_dataset.hexdigest() for name, of_dataset in own.items()}, whole.hexdigest()


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
        keys = pc.list_flatten(pairs(dataset.accepted["keys"]))
        used = set(pc.unique(pc.struct_field(keys, "key")).to_pylist())
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
