"""The rows of a manifest (CSV, JSONL or Parquet), one by one: each with its line, its names in one spelling, its paths
as the disk spells them; a row with a defect becomes a quarantine row.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.codes import Code
from components.contracts.errors import DataError
from components.contracts.records import Quarantined
from components.contracts.splits import CORPUS_SPLITS
from components.datasets.base import set_aside
from components.datasets.names import DiskNames, name_of, one_spelling
from components.datasets.table import SHOWN, check_unrepeated, read_labels

NAME = "manifest"
MEDIA = ("video", "audio", "physio")
IMAGE = "image"  # a photograph; it is the row's video
CROP = ("crop_x0", "crop_y0", "crop_x1", "crop_y1")
TRACKS = ("video_track", "audio_track")
MAX_TRACK = 999
NUMBERS = ("start_s", "end_s", "valence", "arousal", *CROP, *TRACKS)
NAMES = ("emotion", "subject", "clip_id", "session", "text_id", "split")
TEXT_FILE = "transcript_file"
FILES = (*MEDIA, TEXT_FILE)
TEXTS = ("transcript", TEXT_FILE)
COLUMNS = (*MEDIA, IMAGE, *NUMBERS, *NAMES, *TEXTS, "licence", "consent")
GROUP = "group_"
MAX_PATH = 255


class Row(dict[str, Any]):
    """The cells of a row that are not empty, by column; `where` is its place in words, such as `table.csv line 3`."""

    def __init__(self, cells: Mapping[str, Any], where: str) -> None:
        super().__init__(cells)
        self.where = where


def read_rows(path: Path, stored: str) -> tuple[list[Row], list[Quarantined]]:
    """The rows without a defect, in the table's order, and a quarantine row for each other one.

    Args:
        path: the table.
        stored: its path as quarantine rows name it.

    Raises:
        DataError: the table cannot be read, has an unknown column, or one twice.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError("unknown kind of table", where=str(path), seen=path.suffix, allowed=", ".join(sorted(READERS)))
    try:
        raw, quarantined = read(path, stored)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError("cannot read the table", where=str(path), seen=str(error), code=Code.BAD_LABELS) from error
    disk = DiskNames()
    rows = []
    for cells in raw:
        for column in cells:
            if column not in COLUMNS and not column.startswith(GROUP):
                raise DataError.unknown("column", column, COLUMNS, where=str(path))
        row = Row({name: _spelled(name, cell, path.parent, disk) for name, cell in cells.items()}, cells.where)
        refusal = _refusal(row, path.parent)
        if refusal is None:
            rows.append(row)
        else:
            quarantined.append(refusal)
    return rows, quarantined


def number(value: object) -> float | None:
    """A finite number, or None."""
    try:
        parsed = float(str(value))
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def track_of(row: Mapping[str, Any], column: str) -> int | None:
    """The number of a track, counted from 1, or None where the row has none."""
    chosen = number(row.get(column))
    return None if chosen is None else int(chosen)


def crop_of(row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """The crop of a row, or None where one of its numbers is missing."""
    x0, y0, x1, y1 = (number(row.get(column)) for column in CROP)
    return None if x0 is None or y0 is None or x1 is None or y1 is None else (x0, y0, x1, y1)


def _csv_rows(path: Path, stored: str) -> tuple[list[Row], list[Quarantined]]:
    labels = read_labels(path, key="subject", columns=(), dataset=NAME, stored=stored)
    rows = [_filled(row, f"{stored} line {row.line}") for row in labels.rows]
    return rows, list(labels.quarantined)


def _jsonl_rows(path: Path, stored: str) -> tuple[list[Row], list[Quarantined]]:
    rows: list[Row] = []
    quarantined: list[Quarantined] = []
    # Not `splitlines`: a text may contain U+2028 and the like, which end no line of JSON.
    for line, text in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{stored} line {line}"
        try:
            cells = json.loads(text, object_pairs_hook=_object)
            if not isinstance(cells, dict):
                raise ValueError(f"an object is required, not {type(cells).__name__}")
        except (ValueError, RecursionError, DataError) as error:
            quarantined.append(_set_aside(where, where, f"this is not a JSON object: {error}", seen=text[:SHOWN]))
        else:
            rows.append(_filled(cells, where))
    return rows, quarantined


def _parquet_rows(path: Path, stored: str) -> tuple[list[Row], list[Quarantined]]:
    check_unrepeated(map(one_spelling, pq.read_schema(path).names), where=str(path))
    rows = pq.read_table(path).to_pylist()
    return [_filled(cells, f"{stored} row {at}") for at, cells in enumerate(rows, start=1)], []


READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_unrepeated((name for name, _ in pairs), where="object")
    return dict(pairs)


def _filled(cells: Mapping[str, Any], where: str) -> Row:
    """The cells that hold something; a NaN is an empty cell, except among the numbers, where it is a defect."""
    spelled = {one_spelling(column): value for column, value in cells.items()}
    filled = {
        column: value
        for column, value in spelled.items()
        if value not in (None, "") and (column in NUMBERS or value == value)  # noqa: PLR0124
    }
    if IMAGE in filled and MEDIA[0] not in filled:
        filled = {MEDIA[0] if column == IMAGE else column: value for column, value in filled.items()}
    return Row(filled, where)


def _spelled(column: str, cell: Any, folder: Path, disk: DiskNames) -> Any:
    if column in FILES and isinstance(cell, str):
        return disk.path(folder, cell)
    if (column in NAMES or column.startswith(GROUP)) and isinstance(cell, str | int | float):
        return name_of(cell)
    return str(cell) if column == "transcript" and isinstance(cell, int | float) else cell


def _refusal(row: Row, folder: Path) -> Quarantined | None:
    """The quarantine row for the first defect of a row, if it has one."""
    # One at a time: what follows a cell of a wrong type cannot be looked at.
    for field, message, seen in chain(_defects(row), _path_defects(row, folder)):
        own = row.get("clip_id")
        path = next((str(row[column]) for column in MEDIA if column in row and field not in MEDIA), "")
        name = own if isinstance(own, str) else Path(path).with_suffix("").as_posix() if path else row.where
        return _set_aside(name, row.where, message, field=field, seen=seen)
    return None


def _set_aside(
    name: str, where: str, message: str, *, field: str | None = None, seen: str | None = None
) -> Quarantined:
    return set_aside(
        NAME,
        name,
        code=Code.BAD_LABEL,
        message=f"{where}: {message}",
        field=field,
        seen=seen,
        remedy="Correct the row, or remove it from the table",
    )


def _defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    """(column, defect, value) for each defect of a row."""
    yield from _cell_defects(row)
    if "subject" not in row:
        yield "subject", "subject, the recorded person, is missing", None
    if not any(column in row for column in (*MEDIA, *TEXTS)):
        yield "video", f"the row has neither media nor words ({', '.join((*MEDIA, *TEXTS))})", None
    if IMAGE in row:  # beside a video: otherwise it is the video
        yield IMAGE, "the row has both an image and a video", str(row[IMAGE])
    if all(column in row for column in TEXTS):
        yield TEXT_FILE, "the words are stated twice, as transcript and as transcript_file", str(row[TEXT_FILE])
    for column in NUMBERS:
        if column in row and number(row[column]) is None:
            yield column, f"{column} is not a finite number", str(row[column])
    for column in ("valence", "arousal"):
        if abs(number(row.get(column)) or 0.0) > 1:
            yield column, f"{column} lies outside [-1, 1]", str(row[column])
    if ("start_s" in row) != ("end_s" in row):
        yield "start_s", "one of start_s and end_s is missing", None
    if "start_s" in row and "end_s" in row:
        start_s, end_s = number(row["start_s"]), number(row["end_s"])
        if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
            yield "end_s", "the stretch must begin at 0 or later and end after it begins", f"{start_s} to {end_s}"
    yield from _crop_defects(row)
    yield from _track_defects(row)
    if "split" in row and row["split"] not in CORPUS_SPLITS:
        yield "split", f"the split is none of {', '.join(CORPUS_SPLITS)}", str(row["split"])


def _cell_defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    for column, value in row.items():
        if not isinstance(value, str | int | float):
            yield column, f"{column} is neither text nor a number", type(value).__name__
    for column in FILES:
        if column in row and not Path(str(row[column])).name.strip("."):
            yield column, f"{column} is not the path of a file", str(row[column])


def _path_defects(row: Row, folder: Path) -> Iterator[tuple[str, str, str | None]]:
    text = row.get("transcript")
    if isinstance(text, str) and len(text) <= MAX_PATH and os.path.isfile(folder / text):
        yield "transcript", "the transcript is the path of a file: name it in the column transcript_file", text


def _track_defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    for column in TRACKS:
        chosen = number(row.get(column))
        if chosen is not None and not (1 <= chosen <= MAX_TRACK and chosen.is_integer()):
            yield column, f"{column} is not the number of a track (1, 2, …)", str(row[column])


def _crop_defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    if not any(column in row for column in CROP):
        return
    crop = crop_of(row)
    if crop is None:
        yield CROP[0], f"one of {', '.join(CROP)} is missing", None
    elif not (0 <= crop[0] < crop[2] <= 1 and 0 <= crop[1] < crop[3] <= 1):
        yield CROP[0], "the crop is not a part of a picture: shares from 0 to 1, x0 < x1, y0 < y1", str(crop)
