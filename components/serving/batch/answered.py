"""Clips judged into a folder, one file per answer, and the tables of many answers.

    FOLDER/journal.jsonl        what is done
    FOLDER/clips.csv, .parquet  one row per clip: the answer in short, or the error
    FOLDER/moments.parquet      one row per moment of all clips

Nothing is held in memory but one answer of the tables at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.atomic import atomic_file
from components.contracts.errors import MerError
from components.contracts.room import full_disk_named
from components.runtime.patience import Patience

if TYPE_CHECKING:
    from components.serving.answers.schemas import Answer
    from components.serving.predictor import Predictor

JOURNAL, MOMENTS, CLIPS = "journal.jsonl", "moments.parquet", "clips"
EPISODE = "{onset_s:g}-{offset_s:g} {emotion} {kind}"


@dataclass(frozen=True, kw_only=True)
class ClipFiles:
    """One clip to judge.

    Attributes:
        name: of the clip in the tables.
        clip: the file.
        transcript, words, physio: files that go with it.
        video_track, audio_track: which of several tracks to use, counted from 1.
    """

    name: str
    clip: Path
    transcript: Path | None = None
    words: Path | None = None
    physio: Path | None = None
    video_track: int | None = None
    audio_track: int | None = None


def answer_of(files: ClipFiles, predictor: Predictor, patience: Patience, *, why: bool = False) -> Answer:
    """Judges one clip. Raises as `clip_of_file` and `Predictor.predict`."""
    from components.serving.clips import clip_of_file

    clip = clip_of_file(
        files.clip,
        predictor.guard,
        transcript=files.transcript,
        words=files.words or (),
        physio=files.physio,
        video_track=files.video_track,
        audio_track=files.audio_track,
        patience=patience,
    )
    return predictor.predict(clip, patience=patience, why=why)


def write_problem(path: Path, error: MerError) -> None:
    """Writes why there is no answer, in place of it."""
    from components.serving.answers.schemas import Problem

    write_text(path, Problem.of(error).model_dump_json(by_alias=True))


def write_text(path: Path, text: str) -> None:
    """Writes a text atomically, with the end of its last line."""
    with atomic_file(path) as beside:
        beside.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


class Journal:
    """The last state of each clip that one was noted of, by its name. A context manager for writing; several processes
    may write at a time, since a line is one write at the end of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.states: dict[str, str] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    self.states.update(json.loads(line))
                except ValueError:  # the last line of a process that was killed
                    continue

    def __enter__(self) -> Journal:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("a", encoding="utf-8")
        self._stream.write("\n")  # ends a line that was cut off
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def note(self, name: str, state: str) -> None:
        """Notes the state of a clip: of an answer, after it was written."""
        self._stream.write(json.dumps({name: state}) + "\n")
        self._stream.flush()


def write_tables(answers: Iterable[tuple[str, Path]], out: Path) -> None:
    """Writes the tables of all clips from the files of their answers, one after the other.

    Args:
        answers: name of the clip → the file that has its answer or its problem; where there is none, the row is empty.
        out: the folder of the tables.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    with atomic_file(out / MOMENTS) as beside, full_disk_named(out):
        writer = None
        for name, path in answers:
            body = _read(path)
            rows.append({"clip": name, **_short(body)})
            moments = None if body is None or "error" in body else _moments(name, body)
            if moments is not None and len(moments):
                table = pa.Table.from_pandas(moments, preserve_index=False)
                writer = writer or pq.ParquetWriter(beside, table.schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
        if writer is None:
            pq.write_table(pa.table({"clip": pa.array([], pa.string())}), beside)
        else:
            writer.close()
    clips = pd.DataFrame(rows)
    with atomic_file(out / f"{CLIPS}.csv") as beside:
        clips.to_csv(beside, index=False)
    with atomic_file(out / f"{CLIPS}.parquet") as beside:
        clips.to_parquet(beside, index=False)


def _moments(name: str, body: Mapping[str, Any]) -> Any:
    """The rows of one answer, with types that do not depend on what is missing in it."""
    from components.serving.answers.schemas import Answer

    moments = Answer.model_validate(body).to_pandas()
    moments.insert(0, "clip", name)
    texts = ["clip", "emotion", "present"]
    numbers = moments.columns.difference(texts)
    return moments.astype({**dict.fromkeys(texts, "string"), **dict.fromkeys(numbers, "float64")})


def _short(body: Mapping[str, Any] | None) -> dict[str, Any]:
    """An answer, or the error, in the columns of the table of clips."""
    answer = body if body is not None and "error" not in body else {}
    error = (body or {}).get("error", {})
    contradiction, outside = answer.get("contradiction", {}), answer.get("outside_training", {})
    episodes = answer.get("episodes", [])
    return {
        "emotion": answer.get("emotion"),
        "confidence": answer.get("confidence"),
        "duration_s": answer.get("clip", {}).get("duration_s"),
        "valence": answer.get("valence"),
        "arousal": answer.get("arousal"),
        "modalities": "+".join(name for name, share in answer.get("presence", {}).items() if share) or None,
        "contradiction": contradiction.get("score"),
        "outside_training": outside.get("flag"),
        "episodes": "; ".join(EPISODE.format(**episode) for episode in episodes) or None,
        "version": answer.get("model", {}).get("version"),
        "error": error.get("code"),
        "what": error.get("what"),
        "where": error.get("where"),
        "seen": error.get("seen"),
        "remedy": error.get("remedy"),
    }


def _read(path: Path) -> dict[str, Any] | None:
    """An answer or a problem; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
