"""The rows of a feature folder's `clips.csv`, checked one by one.

Required: `clip_id`, `subject_id`, `label`. Optional: `split` (the corpus's own), `start_s` and `end_s`,
`sequence_id`, `session_id`, `valence`, `arousal` (in [-1, 1]), `text_id`, `transcript`, and `group_<name>` for slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import DataError, nearest
from components.contracts.records import Quarantined
from components.contracts.splits import CORPUS_SPLITS
from components.datasets.base import set_aside
from components.datasets.names import name_of, names_of
from components.datasets.table import read_labels

NEEDED = ("clip_id", "subject_id", "label")
NUMBERS = ("start_s", "end_s", "valence", "arousal")
COLUMNS = (*NEEDED, *NUMBERS, "split", "sequence_id", "session_id", "text_id", "transcript")
TEXTS = (*NUMBERS, "transcript")  # cells that are not names
GROUP = "group_"


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """One row of the table; empty cells are None. `duration_s` is `end_s - start_s`."""

    clip_id: str
    subject: str
    label: str | None
    split: str | None
    start_s: float | None
    end_s: float | None
    sequence: str | None
    session: str | None
    valence: float | None
    arousal: float | None
    text_id: str | None
    transcript: str | None
    groups: Mapping[str, str]

    @property
    def duration_s(self) -> float | None:
        """Seconds, if the table has both times."""
        return None if self.start_s is None or self.end_s is None else self.end_s - self.start_s


def emotion_of(row: FeatureRow, emotions: Mapping[str, str]) -> str | None:
    """What `emotions` maps a row's label to, the label itself if it has no mapping, or None without a label."""
    if row.label is None:
        return None
    emotions = names_of(emotions)
    return emotions.get(row.label) or emotions.get(row.label.lower()) or row.label


def read_rows(path: Path, *, dataset: str, stored: str) -> tuple[list[FeatureRow], list[Quarantined]]:
    """The valid rows in the table's order, and a quarantine row for each invalid one.

    Args:
        path: the table.
        dataset: for the quarantine rows.
        stored: the table's path as rows name it.

    Raises:
        DataError: the table cannot be read, lacks a column, or has an unknown one.
    """
    labels = read_labels(path, key=NEEDED[0], columns=NEEDED[1:], dataset=dataset, stored=stored)
    for column in labels.columns:
        if column not in COLUMNS and not column.startswith(GROUP):
            raise DataError(
                "unknown column",
                where=stored,
                seen=column,
                allowed=", ".join((*COLUMNS, f"{GROUP}<name>")),
                remedy=nearest(column, COLUMNS) or f"Call it {GROUP}{column} to keep it for slices, or remove it",
                code=Code.BAD_LABELS,
            )
    rows: list[FeatureRow] = []
    quarantined = list(labels.quarantined)
    lines: dict[str, int] = {}
    for fields in labels.rows:
        cells = {column: value if column in TEXTS else name_of(value) for column, value in fields.items() if value}
        number = fields.line
        defect = next(_defects(cells), None)
        name = cells.get("clip_id", f"line {number}")
        if defect is None and name in lines:
            defect = ("clip_id", f"{name!r} is already in line {lines[name]}, which is used", name)
        if defect is not None:
            field, message, seen = defect
            quarantined.append(
                set_aside(
                    dataset,
                    name,
                    code=Code.DUPLICATE_LABEL if field == "clip_id" and name in lines else Code.BAD_LABEL,
                    message=f"{stored} line {number}: {message}",
                    path=stored,
                    field=field,
                    seen=seen,
                    remedy="Correct the line, or remove it from the table",
                )
            )
            continue
        lines[name] = number
        rows.append(_row(cells))
    return rows, quarantined


def _defects(row: Mapping[str, str]) -> Iterator[tuple[str, str, str | None]]:
    """(column, defect, value) for each defect of a row."""
    for column in NEEDED[:2]:
        if column not in row:
            yield column, f"{column} is empty", None
    for column in NUMBERS:
        if column in row and _number(row[column]) is None:
            hint = ": write it with a decimal point" if "," in row[column] else ""
            yield column, f"{column} is not a finite number{hint}", row[column]
    for column in ("valence", "arousal"):
        if abs(_number(row.get(column)) or 0.0) > 1:
            yield column, f"{column} lies outside [-1, 1]", row[column]
    if ("start_s" in row) != ("end_s" in row):
        yield "start_s", "one of start_s and end_s is missing", None
    start_s, end_s = _number(row.get("start_s")), _number(row.get("end_s"))
    if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
        yield "end_s", "it must begin at 0 or later and end after it begins", f"{start_s:g} to {end_s:g}"
    if "split" in row and row["split"] not in CORPUS_SPLITS:
        near = nearest(row["split"], CORPUS_SPLITS)
        yield "split", f"the split is none of {', '.join(CORPUS_SPLITS)}. {near}".rstrip(), row["split"]


def _row(cells: Mapping[str, str]) -> FeatureRow:
    return FeatureRow(
        clip_id=cells["clip_id"],
        subject=cells["subject_id"],
        label=cells.get("label"),
        split=cells.get("split"),
        start_s=_number(cells.get("start_s")),
        end_s=_number(cells.get("end_s")),
        sequence=cells.get("sequence_id"),
        session=cells.get("session_id"),
        valence=_number(cells.get("valence")),
        arousal=_number(cells.get("arousal")),
        text_id=cells.get("text_id"),
        transcript=cells.get("transcript"),
        groups={
            column.removeprefix(GROUP): value for column, value in sorted(cells.items()) if column.startswith(GROUP)
        },
    )


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
