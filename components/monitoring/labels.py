"""Labels that came late: a table of answers and what was right."""

from __future__ import annotations

import csv
from pathlib import Path

from components.contracts.errors import DataError
from components.inference.profile import CORRECT, LABEL, Outcome, Profile

COLUMNS = ("emotion", "label")


def read_labels(path: Path) -> Profile:
    """How often answers were right, and which labels came, from a CSV with the columns `emotion` and `label`, such as
    `clips.csv` of `mer predict --out` with one more column. Rows without a label do not count.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("cannot read the labels", where=str(path), seen=str(error)) from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise DataError("a column is missing", where=str(path), seen=", ".join(columns), allowed=", ".join(missing))
    outcomes = (
        Outcome(emotion=row["emotion"] or None, confidence=None, presence={}, label=row["label"])
        for row in rows
        if row["label"]
    )
    counted = Profile.of(outcomes)
    return Profile(tables={name: table for name, table in counted.tables.items() if name in (CORRECT, LABEL)})
