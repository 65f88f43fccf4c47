from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.config import Params
from components.contracts.errors import ConfigError, DataError
from components.contracts.layout import Layout
from components.contracts.records import Clip, GivenFeatures, Quarantined, Segment, Word, clips_of
from components.datasets.base import Scan
from components.datasets.corpora.feature_table import FeatureTable, FeatureTableOptions
from pipelines.stages import call_stage
from tests.datasets.feature_folders import Arrays, write_features

HEAD = "clip_id,subject_id,label"


def scan(folder: Path, **options: Any) -> Scan:
    return FeatureTable().scan(FeatureTableOptions(root=folder.name, **options), folder.parent, 7)


def run(folder: Path, **options: Any) -> tuple[dict[str, Clip], list[Quarantined], dict[str, Any]]:
    """The whole stage: the clips, what was set aside, and the summary."""
    layout = Layout(folder.parent)
    params = Params(datasets=("feature_table",), sources={"feature_table": {"root": folder.name, **options}})
    summary = call_stage("datasets", params, layout, "feature_table")
    out = layout.dataset("feature_table")
    clips = clips_of(pq.read_table(out / "clips.parquet"))
    rows = [Quarantined(**row) for row in pq.read_table(out / "quarantine.parquet").to_pylist()]
    return {clip.clip_id.partition("/")[2]: clip for clip in clips}, rows, summary


def arrays(*names: str, steps: int = 1, width: int = 3) -> Arrays:
    return {name: np.full((steps, width), at + 1.0) for at, name in enumerate(names)}


def test_a_clip_brings_what_each_file_has_of_it(tmp_path: Path) -> None:
    table = (
        f"{HEAD},split,start_s,end_s,valence,text_id,group_age\na,ann,Happy,dev,1,3,0.5,s1,old\nb,bo,fear,test,,,,,\n"
    )
    files = {"face": arrays("a", steps=50), "voice_prosody": arrays("a", "b")}
    clips, quarantined, summary = run(write_features(tmp_path / "sets", table, files, rates={"face": 25}))
    assert quarantined == []
    first, second = clips["a"], clips["b"]
    assert first.given == (
        GivenFeatures(modality="face", path="sets/face.npz", key="a", rate_hz=25.0, start_s=0.0, end_s=2.0),
        GivenFeatures(modality="voice_prosody", path="sets/voice_prosody.npz", key="a", start_s=0.0, end_s=2.0),
    )
    assert (first.emotion, first.split, first.valence, first.groups) == ("happiness", "dev", 0.5, {"age": "old"})
    assert (first.subject_id, first.text_id) == ("feature_table/ann", "feature_table/s1")
    assert (first.licence, first.consent) == ("CC0", "synthetic")
    assert [one.modality for one in second.given] == ["voice_prosody"]
    assert second.given[0].end_s is None
    assert (first.video_path, first.audio_path, first.physio_path) == (None, None, None)
    assert "1 of 2 clips have no face, the first 'b'" in summary["notes"]


def test_the_content_is_the_arrays_and_their_place_in_time(tmp_path: Path) -> None:
    table = f"{HEAD}\na,ann,fear\nb,bo,fear\n"
    folder = write_features(tmp_path / "sets", table, {"face": arrays("a", "b")})
    before = {name: clip.content_sha256 for name, clip in run(folder)[0].items()}
    relabelled = {name: clip.content_sha256 for name, clip in run(folder, emotions={"fear": "anger"})[0].items()}
    assert relabelled == before
    np.savez(folder / "face.npz", a=np.ones((1, 3)), b=np.zeros((1, 3)))
    after = {name: clip.content_sha256 for name, clip in run(folder)[0].items()}
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
    (folder / "clips.csv").write_text(f"{HEAD},start_s,end_s\na,ann,fear,0,1\nb,bo,fear,,\n")
    timed = {name: clip.content_sha256 for name, clip in run(folder)[0].items()}
    assert timed["a"] != after["a"]
    assert timed["b"] == after["b"]


def test_npz_and_parquet_of_one_folder_stand_side_by_side(tmp_path: Path) -> None:
    folder = write_features(tmp_path / "sets", f"{HEAD}\na,ann,fear\n", {"face": arrays("a")})
    pq.write_table(
        pa.table({"clip_id": ["a"], "values": [[[1.0], [2.0]]], "rate_hz": [10.0]}), folder / "voice.parquet"
    )
    clips, quarantined, _ = run(folder)
    assert [(one.modality, one.path) for one in clips["a"].given] == [
        ("face", "sets/face.npz"),
        ("voice", "sets/voice.parquet"),
    ]
    assert quarantined == []


def test_the_utterances_of_a_dialogue_are_one_clip_with_a_label_each(tmp_path: Path) -> None:
    lines = ("u2,bo,anger,12,13.5,d1", "u1,ann,joy,10,11,d1", "u3,ann,,14,15,d1", "x,cy,sad,,,")
    table = "\n".join((f"{HEAD},start_s,end_s,sequence_id", *lines))
    clips, quarantined, summary = run(write_features(tmp_path / "sets", table, {"text": arrays("u1", "u2", "u3", "x")}))
    assert quarantined == []
    assert set(clips) == {"d1", "x"}
    dialogue = clips["d1"]
    assert [(one.key, one.start_s, one.end_s) for one in dialogue.given] == [
        ("u1", 0.0, 1.0),
        ("u2", 2.0, 3.5),
        ("u3", 4.0, 5.0),
    ]
    assert dialogue.segments == (
        Segment(start_s=0.0, end_s=1.0, emotion="happiness"),
        Segment(start_s=2.0, end_s=3.5, emotion="anger"),
    )
    assert dialogue.emotion is None
    assert dialogue.subject_id == "feature_table/ann+bo"
    assert clips["x"].subject_id == "feature_table/cy"
    assert any("1 sequences have several people" in note for note in summary["notes"])


def test_whoever_is_in_a_dialogue_counts_under_the_joint_name_elsewhere_too(tmp_path: Path) -> None:
    table = f"{HEAD},sequence_id\nu1,ann,joy,d1\nu2,bo,joy,d1\nx,ann,sad,\n"
    clips, _, _ = run(write_features(tmp_path / "sets", table, {"text": arrays("u1", "u2", "x")}))
    assert {clip.subject_id for clip in clips.values()} == {"feature_table/ann+bo"}


def test_the_words_of_an_utterance_stand_in_its_place(tmp_path: Path) -> None:
    lines = (
        "u1,ann,joy,10,11,d1,How nice of you",
        "u2,ann,sad,12,13,d1,",
        "u3,ann,sad,14,15,d1,Alas",
        "x,cy,sad,,,,So",
    )
    table = "\n".join((f"{HEAD},start_s,end_s,sequence_id,transcript", *lines))
    clips, _, summary = run(write_features(tmp_path / "sets", table, {"face": arrays("u1", "u2", "u3", "x")}))
    assert clips["d1"].words == (
        Word(text="How nice of you", start_s=0.0, end_s=1.0),
        Word(text="Alas", start_s=4.0, end_s=5.0),
    )
    assert (clips["x"].words, clips["x"].transcript) == ((), "So")
    assert not any("not used" in note for note in summary["notes"])


def test_utterances_without_times_follow_each_other(tmp_path: Path) -> None:
    table = f"{HEAD},sequence_id\nu2,ann,joy,d1\nu1,ann,sad,d1\n"
    folder = write_features(tmp_path / "sets", table, {"text": arrays("u1", "u2")})
    assert [(s.start_s, s.end_s) for s in run(folder)[0]["d1"].segments] == [(0.0, 0.1), (0.1, 0.2)]
    slower = run(folder, utterance_s=0.5)[0]["d1"]
    assert [(one.key, one.start_s, one.end_s) for one in slower.given] == [("u2", 0.0, 0.5), ("u1", 0.5, 1.0)]


def test_an_utterance_with_a_label_nobody_knows_stays_without_one(tmp_path: Path) -> None:
    table = f"{HEAD},sequence_id\nu1,ann,joy,d1\nu2,ann,hapiness,d1\n"
    clips, [row], _ = run(write_features(tmp_path / "sets", table, {"text": arrays("u1", "u2")}))
    assert len(clips["d1"].given) == 2
    assert [segment.emotion for segment in clips["d1"].segments] == ["happiness"]
    assert (row.clip_id, row.code) == ("feature_table/d1", "unknown-emotion")
    assert "at 0.1 s" in row.message
    assert row.remedy.startswith("Did you mean 'happiness'?")


def test_a_clip_with_a_label_nobody_knows_is_set_aside_with_the_nearest(tmp_path: Path) -> None:
    table = f"{HEAD}\na,ann,hapiness\nb,bo,fear\n"
    clips, [row], _ = run(write_features(tmp_path / "sets", table, {"face": arrays("a", "b")}))
    assert set(clips) == {"b"}
    assert row.code == "unknown-emotion"
    assert row.remedy.startswith("Did you mean 'happiness'? Map it")


def test_rows_without_arrays_and_arrays_without_rows_are_told(tmp_path: Path) -> None:
    table = f"{HEAD}\na,ann,fear\nlost,bo,fear\n"
    clips, [row], summary = run(write_features(tmp_path / "sets", table, {"face": arrays("a", "stray", "other")}))
    assert set(clips) == {"a"}
    assert (row.clip_id, row.code) == ("feature_table/lost", "no-features")
    assert "2 arrays of face belong to no row of clips.csv, the first 'stray'" in summary["notes"]


def test_a_clip_left_with_nothing_usable_is_set_aside_with_both_reasons(tmp_path: Path) -> None:
    broken = {"a": np.array([[np.nan, 1.0, 2.0]]), "b": np.ones((1, 3))}
    clips, rows, _ = run(write_features(tmp_path / "sets", f"{HEAD}\na,ann,fear\nb,bo,fear\n", {"face": broken}))
    assert set(clips) == {"b"}
    assert [(row.clip_id, row.code) for row in rows] == [
        ("feature_table/a", "no-media"),
        ("feature_table/a", "not-finite"),
    ]


def test_the_section_goes_before_the_folders_own_file(tmp_path: Path) -> None:
    folder = write_features(
        tmp_path / "sets", f"{HEAD}\na,ann,glee\n", {"face": arrays("a", steps=9)}, rates={"face": 25}
    )
    [clip] = scan(folder, rates={"face": 30}, emotions={"glee": "amusement"}, licence="CC BY 4.0").clips
    assert (clip.given[0].rate_hz, clip.emotion, clip.licence, clip.consent) == (
        30,
        "amusement",
        "CC BY 4.0",
        "synthetic",
    )


@pytest.mark.parametrize("field", ["licence", "consent"])
def test_features_without_terms_are_not_used(tmp_path: Path, field: str) -> None:
    folder = write_features(tmp_path / "sets", f"{HEAD}\na,ann,fear\n", {"face": arrays("a")}, **{field: " "})
    with pytest.raises(DataError, match=f"the {field} of these features is not stated"):
        scan(folder)


def test_what_is_wrong_with_the_description_is_named(tmp_path: Path) -> None:
    folder = write_features(tmp_path / "sets", f"{HEAD}\na,ann,fear\n", {"face": arrays("a")}, rates={"fase": 25})
    with pytest.raises(ConfigError, match=r"feature_table\.rates: unknown modality.*Did you mean 'face'"):
        scan(folder)
    (folder / "features.json").write_text(json.dumps({"rate": {"face": 25}}))
    with pytest.raises(ConfigError, match=r"features\.json: rate: unknown key.*Did you mean 'rates'"):
        scan(folder)
    (folder / "features.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        scan(folder)
    (folder / "features.json").unlink()
    with pytest.raises(ConfigError, match="this is not a positive rate"):
        scan(folder, licence="CC0", consent="yes", rates={"face": -1})


def test_a_folder_without_features_or_with_a_modality_twice_is_refused(tmp_path: Path) -> None:
    folder = write_features(tmp_path / "sets", f"{HEAD}\na,ann,fear\n", {})
    with pytest.raises(DataError, match="contains no features"):
        scan(folder)
    np.savez(folder / "Face-1.npz", a=np.ones(3))
    with pytest.raises(DataError, match="contains no features"):
        scan(folder)
    np.savez(folder / "face.npz", a=np.ones(3))
    assert any("Face-1.npz is not used" in note for note in scan(folder).notes)
    (folder / "face.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"two files hold one modality.*face\.npz, face\.parquet"):
        scan(folder)


def test_a_file_that_cannot_be_read_stops_with_its_name(tmp_path: Path) -> None:
    folder = write_features(tmp_path / "sets", f"{HEAD}\na,ann,fear\n", {"face": arrays("a")})
    (folder / "voice.npz").write_bytes(b"half of a download")
    with pytest.raises(DataError, match=r"sets/voice\.npz"):
        scan(folder)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    folder = write_features(tmp_path / "sets", "", {"face": arrays("a")})
    (folder / "clips.csv").unlink()
    with pytest.raises(DataError, match=r"cannot read the label table.*clips\.csv"):
        scan(folder)
