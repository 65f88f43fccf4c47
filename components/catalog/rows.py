"""Catalog rows: one per accepted clip, labelled with the classes of the taxonomy. They are made as columns, of
`ROWS_AT_ONCE` clips at a time: no Python object per clip."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.contracts.columns import ROWS_AT_ONCE, lengths, mapped, offsets, sorted_pairs
from components.contracts.labels import Taxonomy
from components.contracts.records import CLIP_SCHEMA

CATALOG_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field(
            "segments",
            pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("label", pa.string())])),
            nullable=False,
        ),
        pa.field("keys", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("num_steps", pa.int32(), nullable=False),
        pa.field("rate_hz", pa.float64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        CLIP_SCHEMA.field("groups"),
        CLIP_SCHEMA.field("planted"),
        pa.field("valence", pa.float64()),
        pa.field("arousal", pa.float64()),
        pa.field("text_id", pa.string()),
    ]
)

# Before a split is assigned: with the one that the corpus publishes in its place.
PUBLISHED = "published"
UNASSIGNED_SCHEMA = CATALOG_SCHEMA.set(CATALOG_SCHEMA.get_field_index("split"), pa.field(PUBLISHED, pa.string()))


def catalog_rows(accepted: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """The rows of accepted clips in their order, with `published` in place of `split`. A clip for none of whose labels
    the taxonomy has a class has neither `label` nor `segments`."""
    batches = (batch for batch in accepted.to_batches(max_chunksize=ROWS_AT_ONCE) if len(batch))
    return pa.Table.from_batches([_rows(batch, taxonomy) for batch in batches], schema=UNASSIGNED_SCHEMA)


def is_labelled(rows: pa.Table) -> pa.ChunkedArray:
    """Which rows have a label or a segment."""
    return pc.or_(pc.is_valid(rows["label"]), pc.greater(pc.list_value_length(rows["segments"]), 0))


def _rows(accepted: pa.RecordBatch, taxonomy: Taxonomy) -> pa.RecordBatch:
    made = {
        PUBLISHED: accepted["split"],
        "label": mapped(accepted["emotion"], taxonomy.class_of),
        "segments": _segments(accepted["segments"], taxonomy),
        "keys": sorted_pairs(accepted["keys"]),
        "groups": sorted_pairs(accepted["groups"]),
        "planted": pa.ListArray.from_arrays(
            offsets(lengths(accepted["planted"])),
            pc.list_flatten(accepted["planted"]),
            type=CATALOG_SCHEMA.field("planted").type,
        ),
        "valence": _number(accepted["valence"]),
        "arousal": _number(accepted["arousal"]),
    }
    columns = [made[name] if name in made else accepted[name] for name in UNASSIGNED_SCHEMA.names]
    return pa.RecordBatch.from_arrays(columns, schema=UNASSIGNED_SCHEMA)


def _segments(segments: pa.Array, taxonomy: Taxonomy) -> pa.ListArray:
    """Those with a class, in the order of time."""
    start_s, end_s, emotion = pc.list_flatten(segments).flatten()
    spans = pa.table(
        {
            "clip": pc.list_parent_indices(segments),
            "start_s": start_s,
            "end_s": end_s,
            "label": mapped(emotion, taxonomy.class_of),
        }
    )
    spans = spans.filter(pc.is_valid(spans["label"])).sort_by([(name, "ascending") for name in spans.column_names[:3]])
    counts = np.bincount(spans["clip"].to_numpy(), minlength=len(segments))
    of_lists = CATALOG_SCHEMA.field("segments").type
    values = spans.drop_columns(["clip"]).to_struct_array().combine_chunks().cast(of_lists.value_type)
    return pa.ListArray.from_arrays(offsets(counts), values, type=of_lists)


def _number(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), None, values)
