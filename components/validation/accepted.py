"""The accepted clips: one row each, with everything the catalog needs, and the figures that are judged last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.contracts.columns import mapped, places_of, rows_at, sorted_by, sorted_pairs
from components.contracts.labels import Taxonomy
from components.contracts.records import CLIP_SCHEMA, Quarantined
from components.validation.upstream import Upstream

_FROM_CLIP = (
    "clip_id",
    "dataset",
    "content_sha256",
    "subject_id",
    "session_id",
    "emotion",
    "segments",
    "valence",
    "arousal",
    "text_id",
    "split",
    "groups",
    "planted",
)
_FROM_FEATURES = ("duration_s", "rate_hz", "num_steps", "keys", "coverage")

ACCEPTED_SCHEMA = pa.schema(
    [
        *(CLIP_SCHEMA.field(name) for name in _FROM_CLIP),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("rate_hz", pa.float64(), nullable=False),
        pa.field("num_steps", pa.int32(), nullable=False),
        pa.field("keys", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("coverage", pa.map_(pa.string(), pa.float64()), nullable=False),
    ]
)


def accepted_table(upstream: Upstream, quarantined: Iterable[Quarantined]) -> pa.Table:
    """Clips that have all three rows and broke nothing, sorted by id.

    A clip that an earlier stage set aside has not passed or has no row in that stage's table. A quarantine row of an
    earlier stage alone is no evidence: it may concern one modality, or a second file with the same name.
    """
    clips, index = sorted_by(upstream.clips.select(list(_FROM_CLIP)), "clip_id"), upstream.index
    ids = clips["clip_id"]
    refused = pa.chunked_array([[row.clip_id for row in quarantined]], pa.string())
    aligned = upstream.quality["clip_id"].filter(upstream.quality["passed"])
    places = places_of(ids, index["clip_id"])
    kept = np.flatnonzero((places_of(ids, refused) < 0) & (places_of(ids, aligned) >= 0) & (places >= 0))
    clips, features = rows_at(clips, kept), rows_at(index.select(list(_FROM_FEATURES)), places[kept])
    columns = {name: clips[name] for name in _FROM_CLIP} | {name: features[name] for name in _FROM_FEATURES}
    for name in ("keys", "coverage"):
        columns[name] = pa.chunked_array([sorted_pairs(part) for part in columns[name].chunks], columns[name].type)
    return pa.table([columns[field.name].cast(field.type) for field in ACCEPTED_SCHEMA], schema=ACCEPTED_SCHEMA)


def people_rows(accepted: pa.Table) -> pa.Table:
    """`clip_id` and `subject_id` of the accepted clips."""
    return accepted.select(["clip_id", "subject_id"])


def class_counts(accepted: pa.Table, taxonomy: Taxonomy) -> dict[str, int]:
    """Clips in which each class occurs, as the clip's label or in a segment; classes that do not occur are left out."""
    counts = clips_by_name(accepted, taxonomy.class_of)
    return {name: counts[name] for name in taxonomy.classes if name in counts}


def clips_by_name(accepted: pa.Table, name_of: Callable[[str], str | None]) -> dict[str, int]:
    """Clips in which each emotion occurs, as the clip's or that of a segment, by its name; sorted."""
    segments = accepted["segments"].combine_chunks()
    emotions = pc.struct_field(pc.list_flatten(segments), "emotion")
    occurs = mapped(pa.chunked_array([*accepted["emotion"].chunks, emotions], pa.string()), name_of)
    names = pc.unique(occurs).drop_null()
    code = pc.index_in(occurs, value_set=names).fill_null(-1).to_numpy().astype(np.int64)
    clip = np.concatenate([np.arange(len(accepted)), pc.list_parent_indices(segments).to_numpy()])
    once = np.unique(code[code >= 0] * len(accepted) + clip[code >= 0])
    counts = np.bincount(once // max(len(accepted), 1), minlength=len(names))
    return dict(sorted(zip(names.to_pylist(), counts.tolist(), strict=True)))


def class_rows(counts: Mapping[str, int]) -> pa.Table:
    """One row per class: `class`, `num_clips`."""
    return pa.table(
        {"class": pa.array(list(counts), pa.string()), "num_clips": pa.array(list(counts.values()), pa.int64())}
    )


def dataset_rows(upstream: Upstream, accepted: pa.Table, quarantined: Sequence[Quarantined]) -> pa.Table:
    """One row: the alignment that the features were made from and the present one, the number of known clips (in the
    clip table or in quarantine), and the share that is not accepted."""
    refused = pa.array([row.clip_id for row in quarantined], pa.string())
    known = pc.count_distinct(pa.chunked_array([*upstream.clips["clip_id"].chunks, refused], pa.string())).as_py()
    num_accepted = accepted.num_rows
    return pa.table(
        {
            "dataset": [upstream.dataset],
            "aligned_as": [upstream.alignment_fingerprint],
            # If nothing was encoded, nothing was encoded from a different alignment.
            "encoded_from": [", ".join(upstream.aligned_by) or upstream.alignment_fingerprint],
            "known": [known],
            "accepted": [num_accepted],
            "quarantined_fraction": [max(0, known - num_accepted) / known if known else 0.0],
        }
    )
