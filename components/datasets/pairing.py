"""Matching of label tables with media folders; rows and files without a counterpart are quarantined, none is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.records import Quarantined
from components.datasets.base import set_aside
from components.datasets.names import name_of
from components.datasets.table import LabelTable


@dataclass(frozen=True, kw_only=True)
class PairedRows:
    """Label rows with their files, by name, and a quarantine row for each row or file without a counterpart."""

    matched: dict[str, tuple[Mapping[str, str], Path]]
    quarantined: list[Quarantined]


def pair(labels: LabelTable, files: Mapping[str, Path], *, key: str, dataset: str, table: str) -> PairedRows:
    """Matches label rows with files by name, whatever spelling of it each has (`names.py`).

    Args:
        labels: the label table; its own quarantine rows are among the result's.
        files: name as the table spells it → file.
        key: the column that names the file.
        dataset: for the quarantine rows.
        table: the table's path, for the quarantine rows.
    """
    matched: dict[str, tuple[Mapping[str, str], Path]] = {}
    quarantined = list(labels.quarantined)
    file_of = _by_spelling(files)
    for row in labels.rows:
        name, line = name_of(row[key]), row.line
        if name in matched:
            message = f"{table} line {line}: {name!r} is labelled twice; the first label counts"
            remedy = "Remove one of the two lines from the table"
            quarantined.append(
                set_aside(
                    dataset, name, code=Code.DUPLICATE_LABEL, message=message, path=table, field=key, remedy=remedy
                )
            )
        elif name not in file_of:
            message = f"{table} line {line}: there is a label for {name!r} but no such file"
            remedy = "Add the file, or remove the line from the table"
            quarantined.append(
                set_aside(dataset, name, code=Code.LABEL_WITHOUT_CLIP, message=message, path=table, remedy=remedy)
            )
        else:
            matched[name] = (row, file_of[name])
    used = {path for _, path in matched.values()}
    for name in sorted(files):
        if files[name] in used:
            continue
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


def _by_spelling(files: Mapping[str, Path]) -> dict[str, Path]:
    """The files by one spelling of their names; of two with one name, the first."""
    spelled: dict[str, Path] = {}
    for name in sorted(files):
        spelled.setdefault(name_of(name), files[name])
    return spelled
