from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.contracts.records import Quarantined
from components.datasets.corpora.feature_rows import FeatureRow, emotion_of, read_rows


def rows_of(tmp_path: Path, text: str | bytes) -> tuple[list[FeatureRow], list[Quarantined]]:
    path = tmp_path / "clips.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_rows(path, dataset="feature_table", stored="sets/clips.csv")


def test_a_row_says_everything_it_may(tmp_path: Path) -> None:
    header = "clip_id,subject_id,label,split,start_s,end_s,sequence_id,session_id,valence,arousal,text_id,transcript"
    rows, quarantined = rows_of(tmp_path, f"{header},group_age\nc1,ann,Happy,dev,1.5,4,d1,s1,-0.5,1,t1,well well,old\n")
    assert quarantined == []
    assert rows == [
        FeatureRow(
            clip_id="c1",
            subject="ann",
            label="Happy",
            split="dev",
            start_s=1.5,
            end_s=4.0,
            sequence="d1",
            session="s1",
            valence=-0.5,
            arousal=1.0,
            text_id="t1",
            transcript="well well",
            groups={"age": "old"},
        )
    ]
    assert rows[0].duration_s == 2.5


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("comma", [",", ";", "\t"], ids=["commas", "semicolons", "tabs"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_as_spreadsheets_write_them_are_read(tmp_path: Path, mark: str, comma: str, end: str) -> None:
    lines = ["clip_id,subject_id,label", "a,ann,fear", ""]
    rows, quarantined = rows_of(tmp_path, mark + end.join(lines).replace(",", comma))
    assert [(row.clip_id, row.subject, row.label) for row in rows] == [("a", "ann", "fear")]
    assert quarantined == []


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column subject_id, label.*seen 'clip_id, emotion'"):
        rows_of(tmp_path, "clip_id,emotion\na,fear\n")


def test_an_unknown_column_has_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sets/clips\.csv: unknown column.*Did you mean 'sequence_id'"):
        rows_of(tmp_path, "clip_id,subject_id,label,sequnce_id\na,ann,fear,d1\n")
    with pytest.raises(DataError, match="Call it group_hair"):
        rows_of(tmp_path, "clip_id,subject_id,label,hair\na,ann,fear,red\n")


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        (",ann,fear,,,", "clip_id", "clip_id is empty"),
        ("a,,fear,,,", "subject_id", "subject_id is empty"),
        ("a,ann,fear,soon,2,", "start_s", "start_s is not a finite number"),
        ("a,ann,fear,0,inf,", "end_s", "end_s is not a finite number"),
        ('a,ann,fear,0,"1,5",', "end_s", "write it with a decimal point"),
        ("a,ann,fear,2,1,", "end_s", "end after it begins"),
        ("a,ann,fear,-1,1,", "end_s", "begin at 0 or later"),
        ("a,ann,fear,1,,", "start_s", "one of start_s and end_s is missing"),
        ("a,ann,fear,,,holdout", "split", "the split is none of"),
        ("a,ann,fear,,,tset", "split", "Did you mean 'test'"),
    ],
)
def test_a_bad_line_is_set_aside_with_its_number(tmp_path: Path, line: str, field: str, words: str) -> None:
    rows, [wrong] = rows_of(tmp_path, f"clip_id,subject_id,label,start_s,end_s,split\ngood,bo,joy,,,\n{line}\n")
    assert [row.clip_id for row in rows] == ["good"]
    assert (wrong.code, wrong.field) == ("bad-label", field)
    assert wrong.message.startswith("sets/clips.csv line 3: ")
    assert words in wrong.message


def test_ratings_lie_between_minus_one_and_one(tmp_path: Path) -> None:
    rows, [wrong] = rows_of(tmp_path, "clip_id,subject_id,label,valence\na,ann,fear,-1\nb,ann,fear,4\n")
    assert [row.valence for row in rows] == [-1.0]
    assert (wrong.clip_id, wrong.field, wrong.seen) == ("feature_table/b", "valence", "4")


def test_of_two_lines_for_a_clip_the_first_counts(tmp_path: Path) -> None:
    rows, [wrong] = rows_of(tmp_path, "clip_id,subject_id,label\na,ann,fear\na,ann,anger\n")
    assert [row.label for row in rows] == ["fear"]
    assert wrong.code == "duplicate-label"
    assert "line 3: 'a' is already in line 2" in wrong.message


def test_labels_are_names_with_their_usual_forms(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, "clip_id,subject_id,label\na,x,Angry\nb,x,fear\nc,x,4\nd,x,\ne,x,Ärger\n")
    mapped = [emotion_of(row, {"Ärger": "anger"}) for row in rows]
    assert mapped == ["Angry", "fear", "4", None, "anger"]
