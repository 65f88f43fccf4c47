from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import DataError
from components.datasets.base import Scan
from components.datasets.corpora.manifest import Manifest, ManifestOptions

ROW = {"audio": "a.wav", "emotion": "anger", "subject": "ann"}


def write(folder: Path, rows: list[dict[str, Any]], suffix: str = ".jsonl") -> str:
    path = folder / f"table{suffix}"
    if suffix == ".parquet":
        columns = sorted({name for row in rows for name in row})
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in columns}), path)
    elif suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, sorted({name for row in rows for name in row}))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return path.name


def scan(folder: Path, *rows: dict[str, Any], suffix: str = ".jsonl", **options: Any) -> Scan:
    given = ManifestOptions(table=write(folder, list(rows), suffix), licence="CC0", consent="in writing", **options)
    return Manifest().scan(given, folder, 7)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_same_clips(tmp_path: Path, suffix: str) -> None:
    found = scan(
        tmp_path,
        {**ROW, "valence": -0.5, "arousal": 0.75, "group_gender": "female", "split": "dev", "text_id": "t1"},
        {"video": "b.mp4", "emotion": "Joy", "subject": "bo", "clip_id": "second", "session": "s2"},
        suffix=suffix,
        emotions={"Joy": "happiness"},
    )
    assert not found.quarantined
    first, second = found.clips
    assert (first.clip_id, first.subject_id, first.audio_path) == ("manifest/a", "manifest/ann", "a.wav")
    assert (first.valence, first.arousal, first.split, first.text_id) == (-0.5, 0.75, "dev", "t1")
    assert first.groups == {"gender": "female"}
    assert (second.clip_id, second.emotion, second.video_path) == ("manifest/second", "happiness", "b.mp4")
    assert second.session_id == "manifest/s2"
    assert second.valence is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_row_may_choose_its_tracks(tmp_path: Path, suffix: str) -> None:
    found = scan(
        tmp_path,
        {**ROW, "audio": None, "video": "a.mkv", "clip_id": "ann", "audio_track": 1},
        {**ROW, "audio": None, "video": "a.mkv", "clip_id": "bo", "subject": "bo", "audio_track": 2, "video_track": 3},
        suffix=suffix,
    )
    assert not found.quarantined
    assert [(clip.clip_id, clip.video_track, clip.audio_track) for clip in found.clips] == [
        ("manifest/ann", None, 1),
        ("manifest/bo", 3, 2),
    ]


def test_rows_of_one_recording_are_one_clip_with_segments_in_order(tmp_path: Path) -> None:
    found = scan(
        tmp_path,
        {**ROW, "emotion": "sadness", "start_s": 2.0, "end_s": 3.5},
        {**ROW, "start_s": 0.0, "end_s": 2.0},
    )
    [clip] = found.clips
    assert clip.emotion is None
    assert [(one.start_s, one.end_s, one.emotion) for one in clip.segments] == [(0, 2, "anger"), (2, 3.5, "sadness")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_stretches_may_be_clips_of_their_own(tmp_path: Path, suffix: str) -> None:
    crop = {"crop_x0": 0.5, "crop_y0": 0.0, "crop_x1": 1.0, "crop_y1": 1.0}
    found = scan(
        tmp_path,
        {**ROW, "start_s": 2.0, "end_s": 3.5, "valence": 0.5, "transcript": "so", "subject": "bo", **crop},
        {**ROW, "start_s": 0.25, "end_s": 2.0, "clip_id": "first"},
        {**ROW, "audio": "b.wav"},
        suffix=suffix,
        stretches="clips",
    )
    assert not found.quarantined
    one, whole, first = found.clips
    assert (one.clip_id, one.start_s, one.end_s, one.emotion) == ("manifest/a@2-3.5", 2.0, 3.5, "anger")
    assert (one.valence, one.transcript, one.subject_id) == (0.5, "so", "manifest/bo")
    assert one.crop == (0.5, 0.0, 1.0, 1.0)
    assert (first.clip_id, first.start_s, first.end_s, first.crop) == ("manifest/first", 0.25, 2.0, None)
    assert (whole.clip_id, whole.start_s, whole.end_s) == ("manifest/b", 0.0, None)
    assert not any(clip.segments for clip in found.clips)


def test_one_stretch_is_one_clip(tmp_path: Path) -> None:
    row = {**ROW, "start_s": 2.0, "end_s": 3.5}
    found = scan(tmp_path, row, {**row, "emotion": "fear"}, stretches="clips")
    assert not found.clips
    assert [(row.code, row.clip_id) for row in found.quarantined] == [("duplicate-label", "manifest/a@2-3.5")]


def test_segments_of_one_recording_share_their_crop(tmp_path: Path) -> None:
    crop = {"crop_x0": 0.0, "crop_y0": 0.0, "crop_x1": 0.5, "crop_y1": 1.0}
    rows = [{**ROW, "start_s": 0.0, "end_s": 1.0, **crop}, {**ROW, "start_s": 1.0, "end_s": 2.0, **crop}]
    [clip] = scan(tmp_path, *rows).clips
    assert (clip.crop, clip.start_s, clip.end_s, len(clip.segments)) == ((0.0, 0.0, 0.5, 1.0), 0.0, None, 2)
    rows[1]["crop_x1"] = 1.0
    assert [row.field for row in scan(tmp_path, *rows).quarantined] == ["crop_x1"]


def test_paths_start_at_the_tables_folder(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", [ROW])
    options = ManifestOptions(table="below/table.jsonl", licence="CC0", consent="in writing")
    [clip] = Manifest().scan(options, tmp_path, 7).clips
    assert clip.audio_path == "below/a.wav"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": None}, "subject"),
        ({"audio": None}, "video"),
        ({"valence": 1.5}, "valence"),
        ({"arousal": "high"}, "arousal"),
        ({"valence": float("nan")}, "valence"),
        ({"start_s": 1.0}, "start_s"),
        ({"start_s": 2.0, "end_s": 1.0}, "end_s"),
        ({"start_s": -1.0, "end_s": 1.0}, "end_s"),
        ({"audio_track": 0}, "audio_track"),
        ({"audio_track": 1.5}, "audio_track"),
        ({"video_track": "second"}, "video_track"),
        ({"split": "holdout"}, "split"),
        ({"split": ["train"]}, "split"),
        ({"transcript": {"a": [1]}}, "transcript"),
        ({"crop_x0": 0.0, "crop_y0": 0.0, "crop_x1": 0.5}, "crop_x0"),
        ({"crop_x0": 0.5, "crop_y0": 0.0, "crop_x1": 0.5, "crop_y1": 1.0}, "crop_x0"),
        ({"crop_x0": 0, "crop_y0": 0, "crop_x1": 320, "crop_y1": 240}, "crop_x0"),
    ],
)
def test_a_bad_row_is_set_aside_alone(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    found = scan(tmp_path, {**ROW, **change}, {**ROW, "audio": "good.wav"})
    assert [clip.clip_id for clip in found.clips] == ["manifest/good"]
    [row] = found.quarantined
    assert (row.code, row.field) == ("bad-label", field)
    assert "table.jsonl line 1" in row.message


@pytest.mark.parametrize(
    ("second", "field"),
    [
        ({}, "start_s"),
        ({"subject": "bo", "start_s": 0.0, "end_s": 1.0}, "subject"),
        ({"audio_track": 2, "start_s": 0.0, "end_s": 1.0}, "audio_track"),
        ({"start_s": 0, "end_s": 1}, "start_s"),
    ],
)
def test_rows_of_one_recording_that_do_not_fit_together_are_set_aside(
    tmp_path: Path, second: dict[str, Any], field: str
) -> None:
    found = scan(tmp_path, ROW, {**ROW, **second})
    assert not found.clips
    assert [(row.code, row.field) for row in found.quarantined] == [("duplicate-label", field)]


def test_an_unknown_column_and_a_broken_table_stop_with_the_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"emotoin.*Did you mean 'emotion'"):
        scan(tmp_path, {**ROW, "emotoin": "anger"})
    options = ManifestOptions(table="table.xlsx", licence="CC0", consent="in writing")
    (tmp_path / "table.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"\.csv, \.jsonl, \.parquet"):
        Manifest().scan(options, tmp_path, 7)
    (tmp_path / "table.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match=r"table\.parquet"):
        Manifest().scan(options.model_copy(update={"table": "table.parquet"}), tmp_path, 7)


@pytest.mark.parametrize("line", ["{", "[1]", "7", '{"audio": "a.wav", "subject": "ann", "subject": "bo"}', "[" * 9000])
def test_a_line_that_is_no_object_is_set_aside_alone(tmp_path: Path, line: str) -> None:
    good = json.dumps({**ROW, "audio": "good.wav", "transcript": "so\u2028then"}, ensure_ascii=False)
    (tmp_path / "table.jsonl").write_text(f"{line}\n\n{good}", encoding="utf-8")
    options = ManifestOptions(table="table.jsonl", licence="CC0", consent="in writing")
    found = Manifest().scan(options, tmp_path, 7)
    assert [clip.clip_id for clip in found.clips] == ["manifest/good"]
    assert [row.message.partition(":")[0] for row in found.quarantined] == ["table.jsonl line 1"]


def test_a_column_that_occurs_twice_is_refused_in_parquet_too(tmp_path: Path) -> None:
    table = pa.table([["a.wav"], ["ann"], ["bo"]], names=["audio", "subject", "subject"])
    pq.write_table(table, tmp_path / "table.parquet")
    options = ManifestOptions(table="table.parquet", licence="CC0", consent="in writing")
    with pytest.raises(DataError, match=r"a column occurs twice; seen 'subject'"):
        Manifest().scan(options, tmp_path, 7)


SRT = "1\n00:00:00,500 --> 00:00:02,000\nwe won\n\n2\n00:00:05,000 --> 00:00:07,000\nI cannot\n"


def test_words_and_their_times_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.srt").write_text(SRT)
    (tmp_path / "words" / "b.txt").write_text("we won")
    found = scan(
        tmp_path,
        {**ROW, "transcript_file": "words/a.srt"},
        {**ROW, "audio": "b.wav", "transcript_file": "words/b.txt"},
        {**ROW, "audio": "c.wav", "transcript_file": "words/gone.srt"},
        {**ROW, "audio": "d.wav", "transcript_file": "words/a.srt", "transcript": "we won"},
    )
    timed, plain = found.clips
    assert [(word.text, word.start_s, word.end_s) for word in timed.words] == [
        ("we won", 0.5, 2.0),
        ("I cannot", 5.0, 7.0),
    ]
    assert timed.transcript == "we won I cannot"
    assert (plain.transcript, plain.words) == ("we won", ())
    assert [(row.code, row.field) for row in found.quarantined] == [
        ("bad-label", "transcript_file"),
        ("missing-file", "transcript_file"),
    ]
    assert "words/a.srt" in found.read


def test_words_of_a_file_belong_to_the_stretch_that_they_lie_in(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "b.txt").write_text("we won")
    spans = ({"start_s": 0.0, "end_s": 3.0}, {"start_s": 4.0, "end_s": 8.0})
    rows = [{**ROW, **span, "transcript_file": "a.srt"} for span in spans]
    first, second = scan(tmp_path, *rows, stretches="clips").clips
    assert [(word.text, word.start_s, word.end_s) for word in first.words] == [("we won", 0.5, 2.0)]
    assert [(word.text, word.start_s, word.end_s) for word in second.words] == [("I cannot", 1.0, 3.0)]
    assert second.transcript == "I cannot"
    [clip] = scan(tmp_path, *rows).clips
    assert (len(clip.segments), len(clip.words)) == (2, 2)
    found = scan(tmp_path, {**ROW, **spans[0], "transcript_file": "b.txt"}, stretches="clips")
    assert [(row.code, row.path) for row in found.quarantined] == [("bad-text", "b.txt")]


def test_a_path_where_words_belong_is_told(tmp_path: Path) -> None:
    (tmp_path / "my words.srt").write_text(SRT)
    found = scan(tmp_path, {**ROW, "transcript": "my words.srt"}, {**ROW, "audio": "b.wav", "transcript": "my words"})
    assert [clip.clip_id for clip in found.clips] == ["manifest/b"]
    assert [(row.field, "transcript_file" in row.message) for row in found.quarantined] == [("transcript", True)]
