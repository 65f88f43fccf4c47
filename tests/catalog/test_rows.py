from __future__ import annotations

from typing import Any

import pyarrow as pa

from components.catalog.clips import Clips
from components.catalog.rows import catalog_rows, is_labelled
from components.contracts.labels import ABAW8, RAVDESS8, Taxonomy
from components.validation.accepted import ACCEPTED_SCHEMA


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


def made(taxonomy: Taxonomy, *accepted: dict[str, Any]) -> pa.Table:
    return catalog_rows(pa.Table.from_pylist(list(accepted), schema=ACCEPTED_SCHEMA), taxonomy)


def test_names_become_classes_of_the_taxonomy() -> None:
    clip = accepted(segments=[segment(1, 2, "excitement"), segment(0, 1, "stress")])
    table = made(ABAW8, clip)
    [row] = table.to_pylist()
    assert row["label"] == "neutral"
    assert [(one["start_s"], one["label"]) for one in row["segments"]] == [(0, "other"), (1, "happiness")]
    assert row["keys"] == [("face", "k1"), ("voice", "k2")]
    assert Clips.of(table).present == ["happiness", "neutral", "other"]
    assert made(RAVDESS8, clip)["label"].to_pylist() == ["calm"]


def test_what_the_taxonomy_leaves_out_goes_piece_by_piece() -> None:
    partly = accepted(emotion="stress", segments=[segment(0, 1, "anger"), segment(1, 2, "other")])
    nothing = accepted(emotion="stress", segments=[segment(0, 1, "other")])
    rows = made(RAVDESS8, partly, nothing)
    assert rows["label"].to_pylist() == [None, None]
    assert [[one["label"] for one in segments] for segments in rows["segments"].to_pylist()] == [["anger"], []]
    assert is_labelled(rows).to_pylist() == [True, False]


def test_rows_are_of_their_own_clip_in_any_part_of_a_table() -> None:
    """Lists that are missing, empty and of several parts, and a table that begins in the middle of another."""
    clips = [
        accepted(clip_id="a", segments=[segment(3, 4, "anger")], groups=[("z", "1"), ("b", "2")]),
        accepted(clip_id="b", segments=None, groups=None, planted=None, keys=[]),
        accepted(clip_id="c", segments=[segment(2, 3, "fear"), segment(0, 1, "anger")], planted=[{"kind": "flash"}]),
        accepted(clip_id="d", emotion=None, valence=float("nan"), arousal=0.5, split="dev"),
    ]
    table = pa.Table.from_pylist(clips, schema=ACCEPTED_SCHEMA)
    whole = catalog_rows(table, ABAW8)
    assert whole["segments"].to_pylist() == [
        [{"start_s": 3.0, "end_s": 4.0, "label": "anger"}],
        [],
        [{"start_s": 0.0, "end_s": 1.0, "label": "anger"}, {"start_s": 2.0, "end_s": 3.0, "label": "fear"}],
        [],
    ]
    assert whole["groups"].to_pylist()[:2] == [[("b", "2"), ("z", "1")], []]
    assert [len(planted) for planted in whole["planted"].to_pylist()] == [0, 0, 1, 0]
    assert whole["keys"].to_pylist()[1:3] == [[], [("face", "k1"), ("voice", "k2")]]
    assert whole["valence"].to_pylist() == [None] * 4
    assert whole["arousal"].to_pylist()[3] == 0.5
    assert whole["published"].to_pylist()[3] == "dev"
    for first in range(4):
        assert catalog_rows(table.slice(first), ABAW8).equals(whole.slice(first))
