"""The accepted clips: one row each, with everything the catalog needs, and the figures that are judged last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

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
    refused = {row.clip_id for row in quarantined}
    aligned = {row["clip_id"] for row in upstream.quality.select(["clip_id", "passed"]).to_pylist() if row["passed"]}
    encoded = {row["clip_id"]: row for row in upstream.index.to_pylist()}
    rows = []
    for clip in sorted(upstream.clips.to_pylist(), key=lambda row: row["clip_id"]):
        clip_id = clip["clip_id"]
        if clip_id in refused or clip_id not in aligned or clip_id not in encoded:
            continue
        features = encoded[clip_id]
        row = {name: clip[name] for name in _FROM_CLIP}
        row.update({name: features[name] for name in ("duration_s", "rate_hz", "num_steps")})
        row.update({name: sorted(features[name]) for name in ("keys", "coverage")})
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=ACCEPTED_SCHEMA)


def people_rows(accepted: pa.Table) -> pa.Table:
    """`clip_id` and `subject_id` of the accepted clips."""
    return accepted.select(["clip_id", "subject_id"])


def class_counts(accepted: pa.Table, taxonomy: Taxonomy) -> dict[str, int]:
    """Clips in which each class occurs, as the clip's label or in a segment; classes that do not occur are left out."""
    counts: Counter[str] = Counter()
    for emotion, segments in zip(
        accepted.column("emotion").to_pylist(), accepted.column("segments").to_pylist(), strict=True
    ):
        names = {name for name in (emotion, *(segment["emotion"] for segment in segments or ())) if name is not None}
        classes = {taxonomy.class_of(name) for name in names}
        counts.update(name for name in classes if name is not None)
    return {name: counts[name] for name in taxonomy.classes if counts[name]}


def class_rows(counts: Mapping[str, int]) -> pa.Table:
    """One row per class: `class`, `num_clips`."""
    return pa.table(
        {"class": pa.array(list(counts), pa.string()), "num_clips": pa.array(list(counts.values()), pa.int64())}
    )


def dataset_rows(upstream: Upstream, accepted: pa.Table, quarantined: Sequence[Quarantined]) -> pa.Table:
    """One row: the alignment that the features were made from and the present one, the number of known clips (in the
    clip table or in quarantine), and the share that is not accepted."""
    known = {row.clip_id for row in quarantined} | set(upstream.clips.column("clip_id").to_pylist())
    num_accepted = accepted.num_rows
    return pa.table(
        {
            "dataset": [upstream.dataset],
            "aligned_as": [upstream.alignment_fingerprint],
            # If nothing was encoded, nothing was encoded from a different alignment.
            "encoded_from": [", ".join(upstream.aligned_by) or upstream.alignment_fingerprint],
            "known": [len(known)],
            "accepted": [num_accepted],
            "quarantined_fraction": [max(0, len(known) - num_accepted) / len(known) if known else 0.0],
        }
    )
