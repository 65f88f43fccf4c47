from __future__ import annotations

from typing import Any

from components.catalog.rows import catalog_row, classes_of, split_summary, subjects_of
from components.contracts.labels import ABAW8, RAVDESS8


def accepted(**fields: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "clip_id": "tiny/a",
        "dataset": "tiny",
        "content_sha256": "0" * 64,
        "subject_id": "tiny/s1",
        "session_id": "tiny/s1/1",
        "emotion": "calm",
        "segments": [],
        "valence": None,
        "arousal": None,
        "text_id": None,
        "groups": [("gender", "female")],
        "planted": [],
        "duration_s": 2.0,
        "rate_hz": 10.0,
        "num_steps": 20,
        "keys": [("voice", "k2"), ("face", "k1")],
    }
    return {**defaults, **fields}


def segment(start_s: float, end_s: float, emotion: str) -> dict[str, Any]:
    return {"start_s": start_s, "end_s": end_s, "emotion": emotion}


def test_names_become_classes_of_the_taxonomy() -> None:
    row = catalog_row(accepted(segments=[segment(1, 2, "excitement"), segment(0, 1, "stress")]), ABAW8)
    assert row is not None
    assert row["label"] == "neutral"
    assert [(one["start_s"], one["label"]) for one in row["segments"]] == [(0, "other"), (1, "happiness")]
    assert row["keys"] == [("face", "k1"), ("voice", "k2")]
    assert classes_of(row) == {"neutral", "other", "happiness"}
    ravdess = catalog_row(accepted(), RAVDESS8)
    assert ravdess is not None
    assert ravdess["label"] == "calm"


def test_what_the_taxonomy_leaves_out_goes_piece_by_piece() -> None:
    partly = catalog_row(
        accepted(emotion="stress", segments=[segment(0, 1, "anger"), segment(1, 2, "other")]), RAVDESS8
    )
    assert partly is not None
    assert partly["label"] is None
    assert [one["label"] for one in partly["segments"]] == ["anger"]
    assert catalog_row(accepted(emotion="stress", segments=[segment(0, 1, "other")]), RAVDESS8) is None


def test_subjects_and_splits_count_clips_by_class() -> None:
    fear = [{"label": "fear"}]
    rows = [
        {"clip_id": "a", "dataset": "x", "subject_id": "p", "label": "anger", "segments": [], "split": "train"},
        {"clip_id": "b", "dataset": "y", "subject_id": "p", "label": "anger", "segments": [], "split": "train"},
        {
            "clip_id": "c",
            "dataset": "x",
            "subject_id": "q",
            "label": None,
            "segments": fear,
            "split": "test",
        },
    ]
    p, q = subjects_of(rows)
    assert (p.subject_id, p.datasets, p.clips_per_class) == ("p", ("x", "y"), {"anger": 2})
    assert (q.subject_id, q.datasets, q.clips_per_class) == ("q", ("x",), {"fear": 1})
    summary = split_summary(rows, ("train", "test"), ("anger", "fear"))
    assert summary == {
        "train": {"clips": 2, "subjects": 1, "per_class": {"anger": 2, "fear": 0}},
        "test": {"clips": 1, "subjects": 1, "per_class": {"anger": 0, "fear": 1}},
    }
