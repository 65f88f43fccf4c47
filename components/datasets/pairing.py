"""Matching of label tables with media folders; rows and files without a counterpart are quarantined, none is lost."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.contracts.records import Quarantined
from components.datasets.base import set_aside

# The delimiters that spreadsheets write; for a header with a single column, the first.
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, kw_only=True)
class PairedRows:
    """Label rows with their files, by name, and a quarantine row for each row or file without a counterpart."""

    matched: dict[str, tuple[Mapping[str, str], Path]]
    quarantined: list[Quarantined]


def read_labels(path: Path, *, key: str, columns: tuple[str, ...], dataset: str) -> list[dict[str, str]]:
    """Reads a CSV label table with a header; the delimiter is the one that the header uses: `,`, `;` or a tab.

    Raises:
        DataError: the file is missing, is not CSV in UTF-8, or lacks a required column; the message names both.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=max(DELIMITERS, key=header.count))
            stored_columns = list(reader.fieldnames or [])
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
    except OSError as error:
        raise DataError(
            "cannot read the label table",
            where=dataset,
            seen=str(path),
            remedy=str(error.strerror),
            code=Code.NO_LABELS,
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "the label table cannot be read as CSV in UTF-8",
            where=str(path),
            seen=str(error),
            remedy="Save the table again as CSV, UTF-8",
            code=Code.BAD_LABELS,
        ) from error
    missing = [name for name in (key, *columns) if name not in stored_columns]
    if missing:
        raise DataError(
            f"the label table has no column {', '.join(missing)}",
            where=str(path),
            seen=", ".join(stored_columns),
            allowed=", ".join((key, *columns)),
            code=Code.BAD_LABELS,
        )
    return rows


def pair(rows: list[dict[str, str]], files: Mapping[str, Path], *, key: str, dataset: str, table: str) -> PairedRows:
    """Matches label rows with files by name.

    Args:
        rows: the label table.
        files: name as the table spells it → file.
        key: the column that names the file.
        dataset: for the quarantine rows.
        table: the table's path, for the quarantine rows.
    """
    matched: dict[str, tuple[Mapping[str, str], Path]] = {}
    quarantined: list[Quarantined] = []
    for number, row in enumerate(rows, start=2):  # line 1 is the header
        name = row[key]
        if name in matched:
            message = f"{table} line {number}: {name!r} is labelled twice; the first label counts"
            remedy = "Remove one of the two lines from the table"
            quarantined.append(
                set_aside(
                    dataset, name, code=Code.DUPLICATE_LABEL, message=message, path=table, field=key, remedy=remedy
                )
            )
        elif name not in files:
            message = f"{table} line {number}: there is a label for {name!r} but no such file"
            remedy = "Add the file, or remove the line from the table"
            quarantined.append(
                set_aside(dataset, name, code=Code.LABEL_WITHOUT_CLIP, message=message, path=table, remedy=remedy)
            )
        else:
            matched[name] = (row, files[name])
    for name in sorted(set(files) - {row[key] for row in rows}):
        message = f"there is a file {name!r} but no label for it in {table}"
        quarantined.append(
            set_aside(
                dataset,
                name,
                code=Code.CLIP_WITHOUT_LABEL,
                message=message,
                path=str(files[name]),
                remedy="Add a line to the table, or remove the file",
            )
        )
    return PairedRows(matched=matched, quarantined=quarantined)
