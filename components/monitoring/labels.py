"""Labels that came late: a table of answers and what was right."""

from __future__ import annotations

from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.datasets.table import read_labels as read_table
from components.inference.profile import CORRECT, LABEL, Outcome, Profile


def read_labels(path: Path) -> Profile:
    """How often answers were right, and which labels came, from a CSV with the columns `emotion` and `label`, such as
    `clips.csv` of `mer predict --out` with one more column. Rows without a label do not count.

    Raises:
        DataError: it cannot be read, lacks a column, or has a row that does not fit its header.
    """
    table = read_table(path, key="emotion", columns=("label",), dataset="mer drift")
    if table.quarantined:
        row = table.quarantined[0]
        raise DataError(row.message, where=str(path), seen=row.seen, remedy=row.remedy, code=Code(row.code))
    outcomes = (
        Outcome(emotion=row["emotion"] or None, confidence=None, presence={}, label=row["label"])
        for row in table.rows
        if row["label"]
    )
    counted = Profile.of(outcomes)
    return Profile(tables={name: rows for name, rows in counted.tables.items() if name in (CORRECT, LABEL)})
