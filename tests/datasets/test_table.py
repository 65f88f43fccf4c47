"""Label tables as people make them. `good` rows must survive whatever happens to the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import DataError
from components.datasets.table import LabelTable, read_labels

HEADER = "file,person,mood,text"


def read(tmp_path: Path, text: str | bytes) -> LabelTable:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_labels(path, key="file", columns=(), dataset="box")


def lines_of(table: LabelTable) -> dict[str, int]:
    return {row["file"]: row.line for row in table.rows}


def refused(table: LabelTable) -> list[str]:
    return [row.message.split(":")[0] for row in table.quarantined]


@pytest.mark.parametrize(
    ("body", "good", "bad"),
    [
        # A quote that is opened and never closed, at the start of a cell: of the first row, in the middle, at the end.
        ('a,p,m,"Well\nb,p,m,fine\nc,p,m,"ok"\n', {"b": 3, "c": 4}, [2]),
        ('a,p,m,fine\nb,p,m,"Well\nc,p,m,ok\n', {"a": 2, "c": 4}, [3]),
        ('a,p,m,fine\nb,p,m,"Well', {"a": 2}, [3]),
        ('"a,p,m,well\nb,p,m,fine\n', {"b": 3}, [2]),
        # … and a second stray quote that closes it as if nothing were wrong: either reading could be meant.
        ('a,p,m,"Well\nb,p,m,fine\nc,p,m,well"\nd,p,m,ok\n', {"d": 5}, [2, 3, 4]),
        # A quote within a quoted cell that is not doubled.
        ('a,p,m,"He said "no" to me"\nb,p,m,fine\n', {"b": 3}, [2]),
        # A comma without quotes, in the middle and at the end; a cell too few; a line break without quotes.
        ("a,p,m,well, then we left\nb,p,m,fine\n", {"b": 3}, [2]),
        ("a,p,q,m,fine\nb,p,m,fine\n", {"b": 3}, [2]),
        ("a,p,m\nb,p,m,fine\n", {"b": 3}, [2]),
        ("a,p,m,well\nthen we left\nb,p,m,fine\n", {"a": 2, "b": 4}, [3]),
        # What is right stays: quoted commas, doubled quotes, a quote within a plain cell, empty cells at the end, blank
        # lines, and a quoted cell over several lines.
        (
            'a,p,m,"well, ""then"" we left"\nb,p,m,5" high\nc,p,m,fine,,\n\nd,p,m,\n',
            {"a": 2, "b": 3, "c": 4, "d": 6},
            [],
        ),
        ('a,p,m,"well,\nthen, or so, we left\n\nhome"\nb,p,m,fine\n', {"a": 2, "b": 6}, []),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_no_row_or_word_is_swallowed(tmp_path: Path, body: str, good: dict[str, int], bad: list[int], end: str) -> None:
    table = read(tmp_path, f"{HEADER}\n{body}".replace("\n", end).encode())
    assert lines_of(table) == good
    assert refused(table) == [f"labels.csv line {line}" for line in bad]
    assert all(row.code == "bad-label" and row.remedy and row.path == "labels.csv" for row in table.quarantined)


def test_the_words_of_a_cell_over_several_lines_are_whole(tmp_path: Path) -> None:
    [row] = read(tmp_path, 'file,text\na,"well, yes,\nthen"\n').rows
    assert row == {"file": "a", "text": "well, yes,\nthen"}


def test_many_stray_quotes_take_no_long_time(tmp_path: Path) -> None:
    table = read(tmp_path, HEADER + "\n" + 'a,p,m,"Well\n' * 3000)
    assert (len(table.rows), len(table.quarantined)) == (0, 3000)


@pytest.mark.parametrize("comma", [",", ";", "\t", "|"])
def test_a_first_line_may_state_the_delimiter(tmp_path: Path, comma: str) -> None:
    text = f"sep={comma}\r\nfile,text\r\na,fine\r\nb\r\n".replace(",", comma)
    table = read(tmp_path, b"\xef\xbb\xbf" + text.encode())
    assert [(row, row.line) for row in table.rows] == [({"file": "a", "text": "fine"}, 3)]
    assert refused(table) == ["labels.csv line 4"]


@pytest.mark.parametrize("header", ["file,text,text", "file,text,text\u200b", 'file,text," text "'])
def test_a_column_that_occurs_twice_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"a column occurs twice; seen 'text'"):
        read(tmp_path, f"{header}\na,b,c\n")


def test_columns_without_a_name_may_occur_twice(tmp_path: Path) -> None:
    assert read(tmp_path, ",,file\n1,2,a\n").rows == [{"file": "a"}]


@pytest.mark.parametrize("text", [b"", b"file\n\xe4\n", b"\xff\xfef\0i\0", b'"file\nx,y'])
def test_what_is_no_table_is_refused_with_its_name(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(DataError, match=r"labels\.csv"):
        read(tmp_path, text)


def test_a_table_that_is_not_there_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the label table.*labels\.csv"):
        read_labels(tmp_path / "labels.csv", key="file", columns=(), dataset="box")
    (tmp_path / "labels.csv").write_text("file,feeling\n")
    with pytest.raises(DataError, match=r"no column mood.*feeling.*allowed: file, mood"):
        read_labels(tmp_path / "labels.csv", key="file", columns=("mood",), dataset="box")
