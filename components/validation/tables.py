"""The tables that the suites judge: one scalar per column, lists reduced to their first defect.

Thus every expectation is a standard one, and Data Docs show the offending value and not a nested list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from components.alignment.quality import best_coverage
from components.contracts.labels import CANONICAL
from components.features.encoders.given import is_given
from components.validation.measure import Measured
from components.validation.upstream import Upstream

# Labels and words are timed by people and recognisers against a player's clock, which rounds to a frame or two.
TIME_SLACK_S = 0.25

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()


def clip_rows(upstream: Upstream, names: Collection[str] = CANONICAL) -> pa.Table:
    """The clip table. `aligned` and `encoded` are null for a clip that an earlier stage set aside with a reason;
    `names` are those that labels may have."""
    columns = _columns(upstream.quality, "clip_id", "duration_s", "passed")
    durations = {clip_id: duration_s for clip_id, duration_s, passed in zip(*columns, strict=True) if passed}
    encoded = set(_columns(upstream.index, "clip_id")[0])
    lost_at = defaultdict(set)
    for row in upstream.quarantined:
        lost_at[row.stage].add(row.clip_id)
    rows = upstream.clips.to_pylist()
    subjects, emotions = defaultdict(set), defaultdict(set)
    for row in rows:
        subjects[row["content_sha256"]].add(row["subject_id"])
        emotions[row["content_sha256"]].add(row["emotion"] or "")
    out = []
    for row in rows:
        clip_id, content = row["clip_id"], row["content_sha256"]
        duration_s = durations.get(clip_id)
        set_aside = clip_id in lost_at["alignment"] and clip_id not in durations
        no_features = set_aside or (clip_id in lost_at["features"] and clip_id not in encoded)
        segments, words = row["segments"] or [], row["words"] or []
        out.append(
            {
                "clip_id": clip_id,
                "subject_id": (row["subject_id"] or "").strip(),
                "licence": row["licence"] or "",
                "content_sha256": content or "",
                "emotion": row["emotion"],
                "unknown_segment_emotion": _first(s["emotion"] for s in segments if s["emotion"] not in names),
                "num_labels": len(segments) + (row["emotion"] is not None),
                "bad_segment": first_bad_span(segments, duration_s, may_overlap=False),
                "bad_word": first_bad_span(words, duration_s, may_overlap=True),
                "valence": row["valence"],
                "arousal": row["arousal"],
                "subjects_of_content": len(subjects[content]),
                "emotions_of_content": len(emotions[content]),
                "aligned": None if set_aside else _yes(clip_id in durations),
                "encoded": None if no_features else _yes(clip_id in encoded),
            }
        )
    texts = ["clip_id", "subject_id", "licence", "content_sha256", "emotion", "unknown_segment_emotion"]
    texts += ["bad_segment", "bad_word", "aligned", "encoded"]
    counts = ("num_labels", "subjects_of_content", "emotions_of_content")
    schema = {**dict.fromkeys(texts, _TEXT), **dict.fromkeys(counts, _COUNT), "valence": _NUMBER, "arousal": _NUMBER}
    return pa.Table.from_pylist(out, schema=pa.schema(schema))


def alignment_rows(upstream: Upstream) -> pa.Table:
    """The quality of the aligned clips, with coverage as one column per modality, and whether each row has its
    clip."""
    contents = _contents(upstream)
    out = []
    for row in upstream.quality.to_pylist():
        if not row["passed"]:
            continue
        coverage = dict(row["coverage"] or ())
        out.append(
            {
                **{name: row[name] for name in ("clip_id", "content_sha256")},
                **{name: row[name] for name in ("duration_s", "offset_s", "drift_s_per_min", "speech_fraction")},
                **{f"coverage_{modality}": coverage.get(modality) for modality in upstream.modalities},
                "best_coverage": best_coverage(coverage),
                **_belongs(row, contents),
            }
        )
    texts = ("clip_id", "content_sha256", "has_clip", "same_content")
    numbers = ("duration_s", "offset_s", "drift_s_per_min", "speech_fraction", "best_coverage")
    schema = {**dict.fromkeys(texts, _TEXT), **dict.fromkeys(numbers, _NUMBER), **_coverages(upstream)}
    return pa.Table.from_pylist(out, schema=pa.schema(schema))


def feature_rows(upstream: Upstream, measured: Mapping[str, Mapping[str, Measured]]) -> pa.Table:
    """The feature index with figures of the stored features; `measured` is modality → key → figures."""
    contents = _contents(upstream)
    given = {modality for modality, encoder in upstream.encoders.items() if is_given(encoder["spec"])}
    out = []
    for row in upstream.index.to_pylist():
        keys, coverage = dict(row["keys"] or ()), dict(row["coverage"] or ())
        stored = {m: measured.get(m, {}).get(key) for m, key in sorted(keys.items())}
        present = {m: figures for m, figures in stored.items() if figures is not None}
        steps = row["num_steps"]
        out.append(
            {
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
                **_belongs(row, contents),
            }
        )
    texts = ["clip_id", "content_sha256", "modalities", "missing", "wrong_steps", "not_finite", "constant"]
    texts += ["has_clip", "same_content"]
    schema = {
        **dict.fromkeys(texts, _TEXT),
        **dict.fromkeys(("num_steps", "num_modalities"), _COUNT),
        "rate_hz": _NUMBER,
        **_coverages(upstream),
    }
    return pa.Table.from_pylist(out, schema=pa.schema(schema))


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


def _belongs(row: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, str | None]:
    clip_id = row["clip_id"]
    if clip_id not in contents:
        return {"has_clip": "no", "same_content": None}
    return {"has_clip": "yes", "same_content": _yes(contents[clip_id] == row["content_sha256"])}


def _contents(upstream: Upstream) -> dict[str, str]:
    return dict(zip(*_columns(upstream.clips, "clip_id", "content_sha256"), strict=True))


def _coverages(upstream: Upstream) -> dict[str, pa.DataType]:
    return {f"coverage_{modality}": _NUMBER for modality in upstream.modalities}


def _columns(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table.column(name).to_pylist() for name in names]


def _first(values: Iterable[str]) -> str | None:
    return next(iter(values), None)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
