from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.catalog.examples import load_examples, step_labels
from components.contracts.atomic import write_json, write_table
from components.contracts.errors import DataError
from components.contracts.labels import ABAW8, UNLABELLED
from components.contracts.layout import Layout
from components.contracts.records import Planted, Segment
from components.contracts.timebase import Grid
from components.features.base import Encoded
from components.features.store import FeatureStore
from components.validation.accepted import accepted_table
from components.validation.upstream import read_upstream
from pipelines.stages import call_stage
from tests.validation.tables import ALIGNMENT, Tiny, tiny_params

INDEX = {name: position for position, name in enumerate(ABAW8.classes)}
GRID = Grid(rate_hz=10.0, num_steps=10)


def catalogued(tiny: Tiny, root: Path) -> Layout:
    """The catalog of a dataset in which everything was accepted."""
    layout = tiny.write(Layout(root))
    upstream = read_upstream(layout, tiny.dataset)
    write_table(layout.validated(tiny.dataset) / "accepted.parquet", accepted_table(upstream, []))
    write_json(
        layout.validated(tiny.dataset) / "result.json",
        {"alignment_fingerprint": ALIGNMENT, "encoders": tiny.encoders, "fingerprint": "r" * 64},
    )
    call_stage("catalog", tiny_params(), layout)
    return layout


def test_a_step_has_the_label_of_the_segment_over_its_centre() -> None:
    spans = [{"start_s": 0.05, "end_s": 0.25, "label": "anger"}, {"start_s": 0.66, "end_s": 0.74, "label": "fear"}]
    labels = step_labels(GRID, spans, INDEX["neutral"], np.ones(10, bool), INDEX)
    anger, none = INDEX["anger"], UNLABELLED
    # Half-open: the centre of step 0 (0.05 s) is in the first span, that of step 2 (0.25 s) is not; the second span
    # lies between two centres, so it has no step.
    assert labels.tolist() == [anger, anger, *[none] * 8]
    assert labels.dtype == np.int64


def test_a_clip_label_goes_to_the_steps_in_which_anything_was_observed() -> None:
    observed = np.array([True, False] * 5)
    assert step_labels(GRID, [], 3, observed, INDEX).tolist() == [3, UNLABELLED] * 5
    assert step_labels(GRID, [], UNLABELLED, observed, INDEX).tolist() == [UNLABELLED] * 10


def test_examples_carry_their_features_and_labels(tmp_path: Path) -> None:
    tiny = Tiny()
    planted = Planted(kind="flash", start_s=0.5, end_s=0.9, emotion="fear")
    tiny.clips[0] = replace(
        tiny.clips[0],
        segments=(Segment(start_s=0, end_s=1, emotion="calm"), Segment(start_s=1, end_s=2, emotion="anger")),
        emotion=None,
        groups={"gender": "female"},
        planted=(planted,),
        valence=0.25,
    )
    examples = load_examples(catalogued(tiny, tmp_path))
    assert [example.clip_id for example in examples] == sorted(clip.clip_id for clip in tiny.clips)
    example = next(example for example in examples if example.clip_id == tiny.clips[0].clip_id)
    assert example.clip_label == UNLABELLED
    assert example.step_labels.tolist() == [INDEX["neutral"]] * 10 + [INDEX["anger"]] * 10
    assert (example.groups, example.planted, example.valence, example.arousal) == (
        {"gender": "female"},
        (planted,),
        0.25,
        None,
    )
    keys = dict(tiny.index[0]["keys"])
    assert set(example.encoded) == {"face", "voice"}
    for modality, encoded in example.encoded.items():
        np.testing.assert_array_equal(encoded.values, tiny.features[modality][keys[modality]].values)
        assert encoded.values.shape == (example.num_steps, tiny.encoders[modality]["width"])


def test_splits_together_are_the_whole(tmp_path: Path) -> None:
    layout = catalogued(Tiny(), tmp_path)
    parts = [load_examples(layout, split) for split in ("train", "calibration", "test")]
    assert all(parts)
    together = sorted(example.clip_id for part in parts for example in part)
    assert together == [example.clip_id for example in load_examples(layout)]
    assert {example.split for example in parts[2]} == {"test"}


def test_a_clip_without_a_modality_has_no_features_of_it(tmp_path: Path) -> None:
    tiny = Tiny()
    tiny.index[0]["keys"] = [pair for pair in tiny.index[0]["keys"] if pair[0] == "voice"]
    valid = np.zeros(20, dtype=bool)
    valid[5:8] = True
    clip_id = tiny.change_features(0, "voice", lambda encoded: Encoded(encoded.values, valid))
    example = next(one for one in load_examples(catalogued(tiny, tmp_path)) if one.clip_id == clip_id)
    assert set(example.encoded) == {"voice"}
    assert (example.step_labels != UNLABELLED).tolist() == valid.tolist()


def test_a_feature_that_is_gone_is_said(tmp_path: Path) -> None:
    layout = catalogued(Tiny(), tmp_path)
    for shard in FeatureStore(layout.features("tiny")).shards("voice"):
        shard.unlink()
    with pytest.raises(DataError, match="not in the feature store"):
        load_examples(layout)


def test_features_of_another_length_are_refused(tmp_path: Path) -> None:
    tiny = Tiny()
    tiny.index[0]["num_steps"] = 19
    with pytest.raises(DataError, match="do not fit the clip's grid") as caught:
        load_examples(catalogued(tiny, tmp_path))
    assert tiny.clips[0].clip_id in str(caught.value)


def test_without_a_catalog_there_are_no_examples(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no catalog"):
        load_examples(Layout(tmp_path))
