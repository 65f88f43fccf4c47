"""CSV label tables, row by row: a row that does not fit its header is set aside with its line, and no other changes.

Two slips of the hand shift or swallow cells without any reader of CSV complaining: a comma in a text without quotes
around it, and a quote that is opened and never closed, which makes the following rows part of one cell. Therefore each
line is read on its own first, and a cell goes on in the next line only if its quotes say so and nothing else does.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.contracts.records import Quarantined
from components.datasets.base import set_aside
from components.datasets.names import one_spelling

# The delimiters that spreadsheets write; for a header with a single column, the first.
DELIMITERS = (",", ";", "\t")
SEPARATOR = "sep="  # a first line `sep=;`, which spreadsheets write and obey
MAX_CELL_LINES = 1000
SHOWN = 80

HEADER_QUOTES = "the quotes of the header do not match"
STRAY_QUOTE = "a quote is not closed, or stands inside a quoted cell without being doubled"
MEND_QUOTE = 'Close the quote or remove it; a quote inside a quoted cell is written twice: "she said ""no"""'
MORE = 'Put quotes around the cell that contains the delimiter: "well, then we left"'
FEWER = "Complete the row: an empty cell keeps its delimiter, and a cell with a line break needs quotes around it"


class LabelRow(dict[str, str]):
    """A row's cells by column, without blanks around them; `line` is the line of the file in which it begins."""

    def __init__(self, cells: Mapping[str, str], line: int) -> None:
        super().__init__(cells)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """A label table: its columns, the rows that fit them, and a quarantine row for each line that does not."""

    columns: tuple[str, ...]
    rows: list[LabelRow]
    quarantined: list[Quarantined] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Record:
    """The cells between two line ends that count, or why there are none; lines are counted from 1."""

    line: int
    lines: int
    cells: Sequence[str] = ()
    defect: str = ""
    remedy: str = ""

    def by_column(self, names: Sequence[str]) -> LabelRow:
        """The cells by the names of the columns that have one."""
        cells = {name: cell.strip() for name, cell in zip(names, self.cells, strict=False) if name}
        return LabelRow(cells, self.line)


def parse(lines: Sequence[str]) -> tuple[list[str], Iterator[Record]] | None:
    """The names of the columns and the records below; None where the quotes of the header do not match. The delimiter
    is what a first line `sep=;` says, else the one that the header uses: `,`, `;` or a tab."""
    delimiter, first = _delimiter(lines)
    header, lines_read = _first_record(lines[first:], delimiter)
    if header is None:
        return None
    names = [one_spelling(name) for name in header]
    return names, _records(lines, first + lines_read, len(names), delimiter)


def read_labels(
    path: Path, *, key: str, columns: tuple[str, ...], dataset: str, stored: str | None = None
) -> LabelTable:
    """Reads a CSV label table with a header; see `parse`.

    Args:
        path: the table.
        key, columns: the columns that it must have.
        dataset: for the quarantine rows.
        stored: the table's path as quarantine rows name it, by default its name.

    Raises:
        DataError: the file is missing, is not CSV in UTF-8, lacks a required column, or has one twice; the message
            names both.
    """
    stored = stored or path.name
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(stream)
    except OSError as error:
        raise DataError(
            "cannot read the label table",
            where=dataset,
            seen=str(path),
            remedy=str(error.strerror),
            code=Code.NO_LABELS,
        ) from error
    except UnicodeDecodeError as error:
        raise _not_csv(path, error) from error
    parsed = parse(lines)
    if parsed is None:
        raise _not_csv(path, HEADER_QUOTES)
    names, records = parsed
    _check_columns(path, names, (key, *columns))
    rows: list[LabelRow] = []
    quarantined: list[Quarantined] = []
    for record in records:
        if record.defect:
            quarantined += _refusals(record, lines, dataset=dataset, stored=stored)
        else:
            rows.append(record.by_column(names))
    return LabelTable(columns=tuple(name for name in names if name), rows=rows, quarantined=quarantined)


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter, and the index of the header's line."""
    if not lines:
        return DELIMITERS[0], 0
    stated = lines[0].rstrip("\r\n")
    if stated.lower().startswith(SEPARATOR) and len(stated) == len(SEPARATOR) + 1:
        return stated[-1], 1
    return max(DELIMITERS, key=lines[0].count), 0


def _check_columns(path: Path, names: Sequence[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise DataError(
            f"the label table has no column {', '.join(missing)}",
            where=str(path),
            seen=", ".join(names),
            allowed=", ".join(needed),
            code=Code.BAD_LABELS,
        )
    check_unrepeated(names, where=str(path))


def check_unrepeated(names: Iterable[str], *, where: str) -> None:
    """Refuses a table or an object that has a column twice: which of the two counts would be chance.

    Raises:
        DataError: `bad-labels`, with the columns.
    """
    repeated = [name for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        raise DataError(
            "a column occurs twice",
            where=where,
            seen=", ".join(repeated),
            allowed="each column once",
            remedy="Remove one of the two, or give it a different name",
            code=Code.BAD_LABELS,
        )


def _records(lines: Sequence[str], first: int, width: int, delimiter: str) -> Iterator[Record]:
    at = first
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        record = _record(lines, at, width, delimiter)
        yield record
        at += record.lines


def _record(lines: Sequence[str], at: int, width: int, delimiter: str) -> Record:
    """The record that begins at a line, or why there is none."""
    cells, count = _first_record(lines[at : at + 1], delimiter)
    if cells is None:
        cells, count = _first_record(lines[at : at + MAX_CELL_LINES], delimiter)
        if cells is None or len(cells) != width:
            return Record(line=at + 1, lines=1, defect=STRAY_QUOTE, remedy=MEND_QUOTE)
        if any(_could_be_row(line, width, delimiter) for line in lines[at + 1 : at + count]):
            defect = f"by its quotes it is part of lines {at + 1} to {at + count}, by its delimiters a line of its own"
            return Record(line=at + 1, lines=count, defect=defect, remedy=MEND_QUOTE)
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        cells = cells[:width]  # spreadsheets end rows with empty cells
    if len(cells) != width:
        defect = f"it has {len(cells)} cells, the header {width}"
        return Record(line=at + 1, lines=count, defect=defect, remedy=MORE if len(cells) > width else FEWER)
    return Record(line=at + 1, lines=count, cells=cells)


def _first_record(lines: Sequence[str], delimiter: str) -> tuple[list[str] | None, int]:
    """The first record of some lines and the number of its lines; None where its quotes do not match."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return next(reader, []), reader.line_num
    except csv.Error:
        return None, 1


def _could_be_row(line: str, width: int, delimiter: str) -> bool:
    """Whether a line within a cell looks like a row: the right number of cells, and no blank after a delimiter, as
    there is in a sentence."""
    if width == 1 or f"{delimiter} " in line:
        return False
    cells, _ = _first_record([line], delimiter)
    return line.count(delimiter) + 1 == width or len(cells or ()) == width


def _refusals(record: Record, lines: Sequence[str], *, dataset: str, stored: str) -> list[Quarantined]:
    return [
        set_aside(
            dataset,
            f"{stored} line {number}",
            code=Code.BAD_LABEL,
            message=f"{stored} line {number}: {record.defect}",
            path=stored,
            seen=lines[number - 1].strip()[:SHOWN],
            remedy=record.remedy,
        )
        for number in range(record.line, record.line + record.lines)
    ]


def _not_csv(path: Path, reason: object) -> DataError:
    return DataError(
        "the label table cannot be read as CSV in UTF-8",
        where=str(path),
        seen=str(reason),
        remedy="Save the table again as CSV, UTF-8",
        code=Code.BAD_LABELS,
    )
