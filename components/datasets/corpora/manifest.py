"""Any recordings that a table lists: one row per clip, or one row per labelled stretch of a clip.

`table` is CSV, JSONL or Parquet with these columns; paths are relative to the table's folder:

    video, audio, physio   media paths, at least one of them (or `transcript`); a video may be a photograph
    image                  a photograph, in place of video
    emotion                canonical, or a name that `emotions:` maps; empty where it is unknown
    subject                the recorded person; required
    clip_id, session       default: the first path without its suffix, with the times of a stretch; the subject
    start_s, end_s         the row describes this stretch of the recording only
    crop_x0, crop_y0, crop_x1, crop_y1
                           the part of the picture that shows the person, as shares from the upper left
    video_track, audio_track
                           which of several tracks of a file, counted from 1; default: the one with the default flag
    valence, arousal       in [-1, 1]
    transcript             what is said
    transcript_file        the path of a file that holds it: text, SubRip, WebVTT, TextGrid, a recogniser's JSON; its
                           times count from the recording's start
    text_id, split, licence, consent
    group_<name>           demographics for slices

Rows that name the same media are one clip, cut into labelled segments by their times, so a recording is decoded once
and keeps its context. With `stretches: clips` each such row is a separate clip, a span of the recording: utterances of
a long one, several people in one picture (each with a crop).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.errors import DataError
from components.contracts.records import Clip, Quarantined, Segment
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, STAGE, Adapter, Scan, corpus_folder, set_aside
from components.datasets.corpora.manifest_rows import (
    CROP,
    GROUP,
    MEDIA,
    NAME,
    TEXT_FILE,
    TRACKS,
    Row,
    crop_of,
    number,
    read_rows,
    track_of,
)
from components.datasets.names import names_of, one_spelling
from components.datasets.stills import picture_notes
from components.datasets.transcripts.read import SHOWN, Transcript, read_transcript


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

    name = NAME
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
        rows, quarantined = read_rows(folder / table.name, options.table)
        rows_of: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            rows_of[_name(row, options)].append(row)
        clips: list[Clip] = []
        for name, clip_rows in sorted(rows_of.items()):
            outcome = _clip(name, clip_rows, options, table.parent, folder)
            (clips if isinstance(outcome, Clip) else quarantined).append(outcome)  # type: ignore[arg-type]
        texts = {(table.parent / str(row[TEXT_FILE])).as_posix(): None for row in rows if TEXT_FILE in row}
        return Scan(clips=clips, quarantined=quarantined, notes=picture_notes(clips), read=tuple(texts))


def _name(row: Row, options: ManifestOptions) -> str:
    """The clip's name: its `clip_id`, or the first media path without the suffix, with the times of a separate clip."""
    path = next((str(row[column]) for column in MEDIA if column in row), "")
    name = one_spelling(Path(path).with_suffix("").as_posix()) if path else ""
    if options.stretches == "clips" and "start_s" in row and name:
        name += f"@{float(row['start_s']):g}-{float(row['end_s']):g}" if _has_span(row) else ""
    return str(row.get("clip_id", name))


def _has_span(row: Row) -> bool:
    return number(row.get("start_s")) is not None and number(row.get("end_s")) is not None


def _clip(name: str, rows: list[Row], options: ManifestOptions, given: Path, folder: Path) -> Clip | Quarantined:
    """The clip of all rows that name it; a row without times, or one that is a separate clip, must be the only one.

    `given` is the table's folder as clip rows spell it, `folder` where it is.
    """
    first = rows[0]
    spans = options.stretches == "clips"
    unsegmented = [row for row in rows if spans or "start_s" not in row]
    shared = (*MEDIA, *CROP, *TRACKS, TEXT_FILE, "subject", "split")
    differing = [column for column in shared if len({row.get(column) for row in rows}) > 1]
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
    span = (float(first["start_s"]), float(first["end_s"])) if spans and "start_s" in first else (0.0, None)
    try:
        said = _said(first, folder, span, whole=bool(unsegmented))
    except DataError as error:
        path = (given / str(first[TEXT_FILE])).as_posix()
        return Quarantined.from_error(
            error, dataset=NAME, clip_id=f"{NAME}/{name}", stage=STAGE, path=path, field=TEXT_FILE
        )
    paths = {column: (given / str(first[column])).as_posix() if column in first else None for column in MEDIA}
    return Clip(
        clip_id=f"{Manifest.name}/{name}",
        dataset=Manifest.name,
        content_sha256=NOT_HASHED,
        subject_id=person,
        session_id=f"{Manifest.name}/{first.get('session', first['subject'])}",
        video_path=paths["video"],
        audio_path=paths["audio"],
        physio_path=paths["physio"],
        start_s=span[0],
        end_s=span[1],
        crop=crop_of(first),
        video_track=track_of(first, "video_track"),
        audio_track=track_of(first, "audio_track"),
        transcript=said.text or None,
        words=said.words,
        text_id=str(first["text_id"]) if "text_id" in first else None,
        emotion=_emotion(first, options) if unsegmented and "emotion" in first else None,
        segments=segments,
        valence=number(first["valence"]) if unsegmented and "valence" in first else None,
        arousal=number(first["arousal"]) if unsegmented and "arousal" in first else None,
        split=first.get("split"),
        groups={column.removeprefix(GROUP): str(value) for column, value in first.items() if column.startswith(GROUP)},
        licence=str(first.get("licence", options.licence)),
        consent=str(first.get("consent", options.consent)),
    )


def _said(row: Row, folder: Path, span: tuple[float, float | None], *, whole: bool) -> Transcript:
    """What is said in a clip, times from its start. Raises DataError: its file cannot be used.

    A row of several of one recording labels a part of it; what `transcript` says there is not the whole clip's text.
    """
    if TEXT_FILE not in row:
        return Transcript(text=row.get("transcript", "") if whole else "")
    name = str(row[TEXT_FILE])
    said = read_transcript(folder / name, where=name)
    start_s, end_s = span
    if end_s is None:
        return said
    if not said.words:
        raise DataError(
            "a transcript without times cannot be cut to a part of the recording",
            where=name,
            seen=said.text[:SHOWN],
            allowed="SubRip, WebVTT, TextGrid or a recogniser's JSON",
            remedy="Write the words of this part into the column transcript",
            code=Code.BAD_TEXT,
        )
    inside = tuple(
        replace(word, start_s=word.start_s - start_s, end_s=word.end_s - start_s)
        for word in said.words
        if start_s <= (word.start_s + word.end_s) / 2 < end_s
    )
    return Transcript(text=" ".join(word.text for word in inside), words=inside)


def _emotion(row: Row, options: ManifestOptions) -> str:
    name = str(row["emotion"])
    return names_of(options.emotions).get(name, name.lower())
