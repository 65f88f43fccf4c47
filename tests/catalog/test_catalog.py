from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.catalog.catalog import Validated, build
from components.catalog.rows import CATALOG_SCHEMA
from components.contracts.config import Catalog
from components.contracts.errors import DataError
from components.contracts.labels import ABAW8, RAVDESS8
from components.contracts.records import Clip, Segment
from components.validation.accepted import ACCEPTED_SCHEMA
from tests.validation.tables import ENCODERS, tiny_clips


def validated(clips: list[Clip], *, dataset: str = "tiny", **result: Any) -> Validated:
    rows = []
    for clip in clips:
        row = {name: value for name, value in clip.to_row().items() if name in ACCEPTED_SCHEMA.names}
        keys = [(modality, f"{modality}-{clip.content_sha256}") for modality in ("face", "voice")]
        rows.append({**row, "duration_s": 2.0, "rate_hz": 10.0, "num_steps": 20, "keys": keys, "coverage": []})
    told = {"alignment_fingerprint": "a" * 64, "encoders": ENCODERS, "fingerprint": "r" * 64, **result}
    return Validated(dataset=dataset, accepted=pa.Table.from_pylist(rows, schema=ACCEPTED_SCHEMA), result=told)


def made(clips: list[Clip], **fields: Any) -> tuple[pa.Table, dict[str, Any]]:
    return build([validated(clips)], fields.pop("taxonomy", ABAW8), Catalog(**fields), seed=7)


def test_the_catalog_lists_every_clip_with_its_class_and_split() -> None:
    table, description = made(tiny_clips(subjects=5))
    assert table.schema.equals(CATALOG_SCHEMA)
    assert table.column("clip_id").to_pylist() == sorted(clip.clip_id for clip in tiny_clips(subjects=5))
    assert {name: split["subjects"] for name, split in description["splits"].items()} == {
        "train": 3,
        "calibration": 1,
        "test": 1,
    }
    assert description["splits"]["train"]["per_class"]["anger"] == 3
    assert description["classes"] == list(ABAW8.classes)
    assert set(description["absent_classes"]) == {"disgust", "fear", "sadness", "surprise", "other"}
    assert description["subject_disjoint"] is True


def test_texts_are_reported_and_kept_apart_on_demand() -> None:
    clips = [replace(clip, text_id=f"tiny/t{number % 6}") for number, clip in enumerate(tiny_clips(subjects=12))]
    table, description = made(clips)
    assert description["texts"] == len(description["shared_texts"]) == 6
    apart, described = made(clips, by_text=True)
    assert described["shared_texts"] == {}
    assert described["datasets"] == description["datasets"]  # the data are the same
    assert apart.num_rows + len(described["left_out"]) == table.num_rows
    assert {one["why"] for one in described["left_out"]} == {"its person and its text are in different splits"}


def test_nobody_is_in_two_splits() -> None:
    rows = made(tiny_clips(subjects=9))[0].to_pylist()
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_hash_does_not_depend_on_the_order_of_rows(data: st.DataObject) -> None:
    clips = tiny_clips()
    shuffled = data.draw(st.permutations(clips))
    table, description = made(clips)
    again, described = made(list(shuffled))
    assert described == description
    assert again.equals(table)


CHANGES = {
    "relabelled": lambda clips: [replace(clips[0], emotion="sadness"), *clips[1:]],
    "removed": lambda clips: clips[1:],
    "other media": lambda clips: [replace(clips[0], content_sha256="0" * 64), *clips[1:]],
    "segmented": lambda clips: [
        replace(clips[0], segments=(Segment(start_s=0, end_s=1, emotion="anger"),)),
        *clips[1:],
    ],
    "other person": lambda clips: [replace(clips[0], subject_id="tiny/s3"), *clips[1:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_hashes_change_with_the_data(change: str) -> None:
    before = made(tiny_clips())[1]
    after = made(CHANGES[change](tiny_clips()))[1]
    assert after["sha256"] != before["sha256"]
    assert after["datasets"]["tiny"] != before["datasets"]["tiny"]


def test_another_deal_changes_the_catalog_and_not_the_datasets_hash() -> None:
    clips = tiny_clips(subjects=8)
    before = made(clips)[1]
    after = made(clips, folds=4, test_fold=1)[1]
    assert after["sha256"] != before["sha256"]
    assert after["datasets"] == before["datasets"]


def test_another_dataset_changes_the_catalog_and_not_the_first_ones_hash() -> None:
    one = validated(tiny_clips())
    two = validated(tiny_clips(dataset="more"), dataset="more")
    alone = build([one], ABAW8, Catalog(), 7)[1]
    both = build([one, two], ABAW8, Catalog(), 7)[1]
    assert both["datasets"]["tiny"] == alone["datasets"]["tiny"]
    assert set(both["datasets"]) == {"tiny", "more"}
    assert both == build([two, one], ABAW8, Catalog(), 7)[1]


def test_a_clip_that_the_taxonomy_leaves_out_is_listed() -> None:
    clips = tiny_clips()
    clips[0] = replace(clips[0], emotion="stress")
    table, description = made(clips, taxonomy=RAVDESS8)
    (left_out,) = description["left_out"]
    assert (left_out["clip_id"], left_out["emotion"]) == (clips[0].clip_id, "stress")
    assert "no class" in left_out["why"]
    assert clips[0].clip_id not in table.column("clip_id").to_pylist()


def test_datasets_that_were_aligned_or_encoded_differently_do_not_mix() -> None:
    one = validated(tiny_clips())
    more = tiny_clips(dataset="more")
    with pytest.raises(DataError, match="aligned differently") as caught:
        build([one, validated(more, dataset="more", alignment_fingerprint="b" * 64)], ABAW8, Catalog(), 7)
    assert "more: bbbb" in str(caught.value)
    other = {**ENCODERS, "face": {**ENCODERS["face"], "spec": "fer", "fingerprint": "9" * 64}}
    with pytest.raises(DataError, match="encoded differently: face") as caught:
        build([one, validated(more, dataset="more", encoders=other)], ABAW8, Catalog(), 7)
    assert "hog" in str(caught.value)
    assert "fer" in str(caught.value)


def test_given_features_and_an_encoder_of_one_name_are_told_to_part() -> None:
    more = tiny_clips(dataset="more")
    given = {**ENCODERS, "face": {"spec": "given:35", "fingerprint": "9" * 64, "width": 35}}
    with pytest.raises(DataError, match=r"encoded differently: face.*given:35.*rename their file") as caught:
        build([validated(tiny_clips()), validated(more, dataset="more", encoders=given)], ABAW8, Catalog(), 7)
    assert "face_2" in str(caught.value)


def test_an_encoder_that_no_clip_of_a_dataset_used_is_no_difference() -> None:
    """A dataset of features lists the configured encoders too; another may bring such a modality ready-made."""
    more = tiny_clips(dataset="more")
    text = {"spec": "given:9", "fingerprint": "9" * 64, "width": 9}  # neither has a clip with text
    datasets = [validated(tiny_clips()), validated(more, dataset="more", encoders={**ENCODERS, "text": text})]
    assert set(build(datasets, ABAW8, Catalog(), 7)[1]["encoders"]) == {*ENCODERS, "text"}


def test_a_clip_id_in_two_datasets_is_refused() -> None:
    with pytest.raises(DataError, match="again: a clip id occurs twice"):
        build([validated(tiny_clips()), validated(tiny_clips(), dataset="again")], ABAW8, Catalog(), 7)


def test_a_number_that_is_none_is_kept_as_none() -> None:
    clips = tiny_clips()
    clips[0] = replace(clips[0], valence=float("nan"), arousal=0.5)
    row = next(row for row in made(clips)[0].to_pylist() if row["clip_id"] == clips[0].clip_id)
    assert (row["valence"], row["arousal"]) == (None, 0.5)


def test_too_few_people_is_said() -> None:
    with pytest.raises(DataError, match="too few subjects"):
        made(tiny_clips(subjects=2))
    with pytest.raises(DataError, match="too few subjects"):
        made([])
