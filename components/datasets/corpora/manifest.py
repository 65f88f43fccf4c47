"""Any recordings that a table lists: one row per clip, or one row per labelled stretch of a clip.

`table` is CSV, JSONL or Parquet with these columns; paths are relative to the table's folder:

    video, audio, physio   media paths, at least one of them (or `transcript`)
    emotion                canonical, or a name that `emotions:` maps; empty where it is unknown
    subject                the recorded person; required
    clip_id, session       default: the first path without its suffix, with the times of a stretch; the subject
    start_s, end_s         the row describes this stretch of the recording only
    crop_x0, crop_y0, crop_x1, crop_y1
                           the part of the picture that shows the person, as shares from the upper left
    valence, arousal       in [-1, 1]
    transcript, text_id, split, licence, consent
    group_<name>           demographics for slices

Rows that name the same media are one clip, cut into labelled segments by their times, so a recording is decoded once
and keeps its context. With `stretches: clips` each such row is a separate clip, a span of the recording: utterances of
a long one, several people in one picture (each with a crop).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.errors import DataError
from components.contracts.records import Clip, Quarantined, Segment
from components.contracts.splits import CORPUS_SPLITS
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, corpus_folder, set_aside
from components.datasets.pairing import read_labels

MEDIA = ("video", "audio", "physio")
CROP = ("crop_x0", "crop_y0", "crop_x1", "crop_y1")
NUMBERS = ("start_s", "end_s", "valence", "arousal", *CROP)
COLUMNS = (*MEDIA, *NUMBERS, "emotion", "subject", "clip_id", "session", "transcript", "text_id", "split", "licence")
KNOWN = (*COLUMNS, "consent")
GROUP = "group_"

Row = Mapping[str, Any]


class ManifestOptions(Section):
    """The section `manifest:` of params.yaml."""

    table: str
    """A .csv, .jsonl or .parquet file, absolute or relative to the project, or `s3://…`."""

    stretches: Literal["segments", "clips"] = "segments"
    """What rows with times are: labelled `segments` of one clip per recording, or `clips` of their own."""

    emotions: Mapping[str, str] = Field(default_factory=dict)
    """A name in the table → canonical emotion, for names that are not canonical themselves."""

    licence: str = Field(min_length=1)
    """The terms, for rows that have none of their own."""

    consent: str = Field(min_length=1)
    """What the people in the recordings agreed to, for rows that have none of their own."""


class Manifest(Adapter[ManifestOptions]):
    """The adapter of tables of recordings."""

    name = "manifest"
    licence = "as its section or its table says"
    about = About(
        title="Recordings that a table lists",
        modalities=("face", "voice", "text", "physio"),
        how="Write a table (CSV, JSONL or Parquet) beside your recordings",
        consent="as its section or its table says",
        splits="the column `split`, with `catalog: {use_corpus_splits: true}`; else people are dealt to splits",
    )
    Options = ManifestOptions
    files = ("table",)

    def places(self, options: ManifestOptions) -> list[Path]:
        """The folder of the table, with the recordings beside it; see `Adapter.places`."""
        return [Path(options.table).expanduser().parent]

    def scan(self, options: ManifestOptions, root: Path, seed: int) -> Scan:
        """Reads the table; see `Adapter.scan`.

        Raises:
            DataError: the table cannot be read, has no column `subject`, or an unknown one.
        """
        table = Path(options.table).expanduser()
        folder = corpus_folder(str(table.parent), root, dataset=self.name)
        rows = _read(folder / table.name)
        rows_of: dict[str, list[Row]] = defaultdict(list)
        quarantined: list[Quarantined] = []
        for number, row in enumerate(rows, start=1):
            refusal = _refusal(row, options, where=f"{options.table} row {number}")
            if refusal is not None:
                quarantined.append(refusal)
            else:
                rows_of[_name(row, options)].append(row)
        clips: list[Clip] = []
        for name, clip_rows in sorted(rows_of.items()):
            outcome = _clip(name, clip_rows, options, table.parent)
            (clips if isinstance(outcome, Clip) else quarantined).append(outcome)  # type: ignore[arg-type]
        return Scan(clips=clips, quarantined=quarantined)


def _read(path: Path) -> list[Row]:
    """The rows, numbers as numbers where the format has them; empty cells are left out."""
    try:
        if path.suffix == ".parquet":
            rows: list[Row] = pq.read_table(path).to_pylist()
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        elif path.suffix == ".csv":
            rows = list(read_labels(path, key="subject", columns=(), dataset=Manifest.name))
        else:
            raise DataError(
                "unknown kind of table", where=str(path), seen=path.suffix, allowed=".csv, .jsonl, .parquet"
            )
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise DataError("cannot read the table", where=str(path), seen=str(error), code=Code.BAD_LABELS) from error
    for row in rows:
        if not isinstance(row, dict):
            raise DataError("a row must be an object", where=str(path), seen=type(row).__name__, code=Code.BAD_LABELS)
        for column in row:
            if column not in KNOWN and not column.startswith(GROUP):
                raise DataError.unknown("column", column, KNOWN, where=str(path))
    return [{column: value for column, value in row.items() if value not in (None, "")} for row in rows]


def _refusal(row: Row, options: ManifestOptions, *, where: str) -> Quarantined | None:
    """The quarantine row for the first defect of a row, if it has one."""
    for field, message, seen in _defects(row):
        own = row.get("clip_id")
        name = own if isinstance(own, str) else "" if field in MEDIA else _name(row, options)
        return set_aside(
            Manifest.name,
            name or where,
            code=Code.BAD_LABEL,
            message=f"{where}: {message}",
            field=field,
            seen=seen,
            remedy="Correct the row, or remove it from the table",
        )
    return None


def _defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    """(column, defect, value) for each defect of a row."""
    yield from _cell_defects(row)
    if "subject" not in row:
        yield "subject", "subject, the recorded person, is missing", None
    if not any(column in row for column in (*MEDIA, "transcript")):
        yield "video", f"the row has neither media nor words ({', '.join((*MEDIA, 'transcript'))})", None
    for column in NUMBERS:
        if column in row and _number(row[column]) is None:
            yield column, f"{column} is not a finite number", str(row[column])
    for column in ("valence", "arousal"):
        if abs(_number(row.get(column)) or 0.0) > 1:
            yield column, f"{column} lies outside [-1, 1]", str(row[column])
    if ("start_s" in row) != ("end_s" in row):
        yield "start_s", "one of start_s and end_s is missing", None
    if "start_s" in row and "end_s" in row:
        start_s, end_s = _number(row["start_s"]), _number(row["end_s"])
        if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
            yield "end_s", "the stretch must begin at 0 or later and end after it begins", f"{start_s} to {end_s}"
    yield from _crop_defects(row)
    if "split" in row and row["split"] not in CORPUS_SPLITS:
        yield "split", f"the split is none of {', '.join(CORPUS_SPLITS)}", str(row["split"])


def _cell_defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    for column, value in row.items():
        if not isinstance(value, str | int | float):
            yield column, f"{column} is neither text nor a number", type(value).__name__
    for column in MEDIA:
        if column in row and not Path(str(row[column])).name.strip("."):
            yield column, f"{column} is not the path of a file", str(row[column])


def _crop_defects(row: Row) -> Iterator[tuple[str, str, str | None]]:
    if not any(column in row for column in CROP):
        return
    crop = _crop(row)
    if crop is None:
        yield CROP[0], f"one of {', '.join(CROP)} is missing", None
    elif not (0 <= crop[0] < crop[2] <= 1 and 0 <= crop[1] < crop[3] <= 1):
        yield CROP[0], "the crop is not a part of a picture: shares from 0 to 1, x0 < x1, y0 < y1", str(crop)


def _crop(row: Row) -> tuple[float, float, float, float] | None:
    x0, y0, x1, y1 = (_number(row.get(column)) for column in CROP)
    return None if x0 is None or y0 is None or x1 is None or y1 is None else (x0, y0, x1, y1)


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name(row: Row, options: ManifestOptions) -> str:
    """The clip's name: its `clip_id`, or the first media path without the suffix, with the times of a separate clip."""
    path = next((str(row[column]) for column in MEDIA if column in row), "")
    name = Path(path).with_suffix("").as_posix() if path else ""
    if options.stretches == "clips" and "start_s" in row and name:
        name += f"@{float(row['start_s']):g}-{float(row['end_s']):g}" if _has_span(row) else ""
    return str(row.get("clip_id", name))


def _has_span(row: Row) -> bool:
    return _number(row.get("start_s")) is not None and _number(row.get("end_s")) is not None


def _clip(name: str, rows: list[Row], options: ManifestOptions, folder: Path) -> Clip | Quarantined:
    """The clip of all rows that name it; a row without times, or one that is a separate clip, must be the only one."""
    first = rows[0]
    spans = options.stretches == "clips"
    unsegmented = [row for row in rows if spans or "start_s" not in row]
    differing = [column for column in (*MEDIA, *CROP, "subject", "split") if len({row.get(column) for row in rows}) > 1]
    if differing or len(unsegmented) > 1 or (unsegmented and len(rows) > 1):
        what = f"rows differ in {differing[0]}" if differing else "two rows label the same part of it"
        return set_aside(
            Manifest.name,
            name,
            code=Code.DUPLICATE_LABEL,
            message=f"{name}: {what}",
            field=differing[0] if differing else "start_s",
            remedy="Give rows of one recording the same media and subject, and each its start_s and end_s",
        )
    segments = tuple(
        Segment(start_s=float(row["start_s"]), end_s=float(row["end_s"]), emotion=_emotion(row, options))
        for row in sorted(rows, key=lambda row: float(row.get("start_s", 0.0)))
        if not spans and "start_s" in row and "emotion" in row
    )
    person = f"{Manifest.name}/{first['subject']}"
    paths = {column: (folder / str(first[column])).as_posix() if column in first else None for column in MEDIA}
    return Clip(
        clip_id=f"{Manifest.name}/{name}",
        dataset=Manifest.name,
        content_sha256=NOT_HASHED,
        subject_id=person,
        session_id=f"{Manifest.name}/{first.get('session', first['subject'])}",
        video_path=paths["video"],
        audio_path=paths["audio"],
        physio_path=paths["physio"],
        start_s=float(first["start_s"]) if spans and "start_s" in first else 0.0,
        end_s=float(first["end_s"]) if spans and "end_s" in first else None,
        crop=_crop(first),
        transcript=first.get("transcript") if unsegmented else None,
        text_id=str(first["text_id"]) if "text_id" in first else None,
        emotion=_emotion(first, options) if unsegmented and "emotion" in first else None,
        segments=segments,
        valence=_number(first["valence"]) if unsegmented and "valence" in first else None,
        arousal=_number(first["arousal"]) if unsegmented and "arousal" in first else None,
        split=first.get("split"),
        groups={column.removeprefix(GROUP): str(value) for column, value in first.items() if column.startswith(GROUP)},
        licence=str(first.get("licence", options.licence)),
        consent=str(first.get("consent", options.consent)),
    )


def _emotion(row: Row, options: ManifestOptions) -> str:
    name = str(row["emotion"])
    return options.emotions.get(name, name.lower())
