"""The tables that the suites judge: one scalar per column, lists reduced to their first defect.

Thus every expectation is a standard one, and Data Docs show the offending value and not a nested list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from components.alignment.quality import best_coverage
from components.contracts.columns import Row, at_places, by_row, distinct_beside, places_of
from components.contracts.labels import CANONICAL
from components.features.encoders.given import is_given
from components.validation.measure import Measured
from components.validation.upstream import Upstream

# Labels and words are timed by people and recognisers against a player's clock, which rounds to a frame or two.
TIME_SLACK_S = 0.25

_JUDGED = ("clip_id", "subject_id", "licence", "content_sha256", "emotion", "segments", "words", "valence", "arousal")
_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()


def clip_rows(upstream: Upstream, names: Collection[str] = CANONICAL) -> pa.Table:
    """The clip table. `aligned` and `encoded` are null for a clip that an earlier stage set aside with a reason;
    `names` are those that labels may have."""
    passed, clips = upstream.quality.filter(upstream.quality["passed"]), upstream.clips
    at = places_of(clips["clip_id"], passed["clip_id"])
    contents = clips["content_sha256"]
    joined = _joined(
        clips.select(list(_JUDGED)),
        aligned=at >= 0,
        encoded=places_of(clips["clip_id"], upstream.index["clip_id"]) >= 0,
        duration_s=at_places(passed["duration_s"], at),
        subjects_of_content=distinct_beside(clips["subject_id"], contents),
        emotions_of_content=distinct_beside(clips["emotion"].fill_null(""), contents),
    )
    lost_at = defaultdict(set)
    for lost in upstream.quarantined:
        lost_at[lost.stage].add(lost.clip_id)

    def judged(row: Row) -> Row:
        clip_id, duration_s = row["clip_id"], row["duration_s"]
        set_aside = clip_id in lost_at["alignment"] and not row["aligned"]
        no_features = set_aside or (clip_id in lost_at["features"] and not row["encoded"])
        segments, words = row["segments"] or [], row["words"] or []
        return {
            "clip_id": clip_id,
            "subject_id": (row["subject_id"] or "").strip(),
            "licence": row["licence"] or "",
            "content_sha256": row["content_sha256"] or "",
            "emotion": row["emotion"],
            "unknown_segment_emotion": _first(s["emotion"] for s in segments if s["emotion"] not in names),
            "num_labels": len(segments) + (row["emotion"] is not None),
            "bad_segment": first_bad_span(segments, duration_s, may_overlap=False),
            "bad_word": first_bad_span(words, duration_s, may_overlap=True),
            "valence": row["valence"],
            "arousal": row["arousal"],
            "subjects_of_content": row["subjects_of_content"],
            "emotions_of_content": row["emotions_of_content"],
            "aligned": None if set_aside else _yes(row["aligned"]),
            "encoded": None if no_features else _yes(row["encoded"]),
        }

    texts = ["clip_id", "subject_id", "licence", "content_sha256", "emotion", "unknown_segment_emotion"]
    texts += ["bad_segment", "bad_word", "aligned", "encoded"]
    counted = ("num_labels", "subjects_of_content", "emotions_of_content")
    schema = {**dict.fromkeys(texts, _TEXT), **dict.fromkeys(counted, _COUNT), "valence": _NUMBER, "arousal": _NUMBER}
    return by_row(joined, pa.schema(schema), judged)


def alignment_rows(upstream: Upstream) -> pa.Table:
    """The quality of the aligned clips, with coverage as one column per modality, and whether each row has its
    clip."""

    def judged(row: Row) -> Row:
        coverage = dict(row["coverage"] or ())
        return {
            **{name: row[name] for name in ("clip_id", "content_sha256")},
            **{name: row[name] for name in ("duration_s", "offset_s", "drift_s_per_min", "speech_fraction")},
            **{f"coverage_{modality}": coverage.get(modality) for modality in upstream.modalities},
            "best_coverage": best_coverage(coverage),
            **_belongs(row),
        }

    texts = ("clip_id", "content_sha256", "has_clip", "same_content")
    numbers = ("duration_s", "offset_s", "drift_s_per_min", "speech_fraction", "best_coverage")
    schema = {**dict.fromkeys(texts, _TEXT), **dict.fromkeys(numbers, _NUMBER), **_coverages(upstream)}
    passed = upstream.quality.filter(upstream.quality["passed"])
    return by_row(_with_clips(passed, upstream), pa.schema(schema), judged)


def feature_rows(upstream: Upstream, measured: Mapping[str, Mapping[str, Measured]]) -> pa.Table:
    """The feature index with figures of the stored features; `measured` is modality → key → figures."""
    given = {modality for modality, encoder in upstream.encoders.items() if is_given(encoder["spec"])}

    def judged(row: Row) -> Row:
        keys, coverage = dict(row["keys"] or ()), dict(row["coverage"] or ())
        stored = {m: measured.get(m, {}).get(key) for m, key in sorted(keys.items())}
        present = {m: figures for m, figures in stored.items() if figures is not None}
        steps = row["num_steps"]
        return {
            **{name: row[name] for name in ("clip_id", "content_sha256", "num_steps", "rate_hz")},
            "modalities": ", ".join(sorted(keys)),
            "num_modalities": len(keys),
            **{f"coverage_{modality}": coverage.get(modality) for modality in upstream.modalities},
            "missing": _first(m for m, figures in stored.items() if figures is None),
            "wrong_steps": _first(
                f"{m}: {f.num_steps} rows for {steps} steps" for m, f in present.items() if f.num_steps != steps
            ),
            "not_finite": _first(f"{m}: {f.not_finite} values" for m, f in present.items() if f.not_finite),
            # A given vector may well be all zeros, and one that holds throughout is the same at every step.
            "constant": _first(
                f"{m}: every value is {f.low:g}" for m, f in present.items() if f.constant and m not in given
            ),
            **_belongs(row),
        }

    texts = ["clip_id", "content_sha256", "modalities", "missing", "wrong_steps", "not_finite", "constant"]
    texts += ["has_clip", "same_content"]
    schema = {
        **dict.fromkeys(texts, _TEXT),
        **dict.fromkeys(("num_steps", "num_modalities"), _COUNT),
        "rate_hz": _NUMBER,
        **_coverages(upstream),
    }
    return by_row(_with_clips(upstream.index, upstream), pa.schema(schema), judged)


def encoder_rows(upstream: Upstream, measured: Mapping[str, Mapping[str, Measured]]) -> pa.Table:
    """One row per modality and stored width: `spec`, declared `width`, and `stored_width` (null if none)."""
    rows = []
    for modality, encoder in sorted(upstream.encoders.items()):
        widths: list[int | None] = [*sorted({figures.width for figures in measured.get(modality, {}).values()})]
        for width in widths or [None]:
            rows.append(
                {"modality": modality, "spec": encoder["spec"], "width": encoder["width"], "stored_width": width}
            )
    kinds = {"modality": _TEXT, "spec": _TEXT, "width": _NUMBER, "stored_width": _NUMBER}
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def first_bad_span(spans: Sequence[Mapping[str, Any]], duration_s: float | None, *, may_overlap: bool) -> str | None:
    """The first span that is not inside `[0, duration_s]`, is empty, or overlaps the previous one; in words."""
    end_s = float("inf") if duration_s is None else duration_s + TIME_SLACK_S
    before: Mapping[str, Any] | None = None
    for span in sorted(spans, key=lambda span: (span["start_s"], span["end_s"])):
        words = f"{span['start_s']:.3f} to {span['end_s']:.3f} s"
        # Written so that a NaN is refused too.
        if not (0 <= span["start_s"] < span["end_s"] <= end_s):
            return words if duration_s is None else f"{words} of {duration_s:.3f} s"
        if not may_overlap and before is not None and span["start_s"] < before["end_s"]:
            return f"{words} overlaps {before['start_s']:.3f} to {before['end_s']:.3f} s"
        before = span
    return None


def _joined(table: pa.Table, **columns: Any) -> pa.Table:
    for name, column in columns.items():
        table = table.append_column(name, column if isinstance(column, pa.ChunkedArray) else pa.array(column))
    return table


def _with_clips(table: pa.Table, upstream: Upstream) -> pa.Table:
    """The rows with the content of their clips, for `_belongs`."""
    places = places_of(table["clip_id"], upstream.clips["clip_id"])
    return _joined(table, has_clip=places >= 0, clip_content=at_places(upstream.clips["content_sha256"], places))


def _belongs(row: Row) -> dict[str, str | None]:
    if not row["has_clip"]:
        return {"has_clip": "no", "same_content": None}
    return {"has_clip": "yes", "same_content": _yes(row["clip_content"] == row["content_sha256"])}


def _coverages(upstream: Upstream) -> dict[str, pa.DataType]:
    return {f"coverage_{modality}": _NUMBER for modality in upstream.modalities}


def _first(values: Iterable[str]) -> str | None:
    return next(iter(values), None)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
