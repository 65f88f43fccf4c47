"""`mer predict … --out DIR`: many clips into a folder of answers, which the same command goes on with.

    DIR/answers/NAME.json    one answer per clip, and its other forms beside it
    DIR/clips.csv, .parquet  one row per clip: the answer in short, or the error
    DIR/moments.parquet      one row per moment of all clips
    DIR/journal.jsonl        what is done: an answer is made again when its clip, its words or the version are others

Nothing is held in memory but the clips that are being judged and one answer of the tables at a time.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from components.contracts.atomic import atomic_file
from components.contracts.codes import Code
from components.contracts.errors import DataError, MerError, nearest
from components.contracts.fingerprint import fingerprint
from components.contracts.room import full_disk_named
from components.datasets.table import HEADER_QUOTES, Record, check_unrepeated, parse
from components.runtime.patience import Patience
from components.runtime.progress import progress

if TYPE_CHECKING:
    from components.serving.predictor import Predictor

ANSWERS, JOURNAL, MOMENTS, CLIPS = "answers", "journal.jsonl", "moments.parquet", "clips"
MANIFEST = ".csv"
COLUMNS = ("clip", "transcript", "words", "physio")
QUEUED_PER_WORKER = 2
EPISODE = "{onset_s:g}-{offset_s:g} {emotion} {kind}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip.

    Attributes:
        name: of its answer, relative to the folder of answers and without an ending of its own.
        clip: the file.
        transcript, words, physio: files that go with it.
    """

    name: str
    clip: Path
    transcript: Path | None = None
    words: Path | None = None
    physio: Path | None = None

    def state(self, version: str) -> str:
        """Changes with the version and with what the files are, by their sizes and times."""
        files = (self.clip, self.transcript, self.words, self.physio)
        return fingerprint([version, *(_stamp(path) for path in files)])


def from_manifest(path: Path) -> list[Job]:
    """The clips of a table with a column `clip` and, where they are given, `transcript`, `words` and `physio`: paths
    from the table's folder.

    Raises:
        DataError: the table cannot be read, has no column `clip` or an unknown one, or has a row without a clip or one
            that does not fit the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            parsed = parse(list(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("cannot read the table of clips", where=str(path), seen=str(error)) from error
    if parsed is None:
        raise DataError("cannot read the table of clips", where=str(path), seen=HEADER_QUOTES)
    columns, records = parsed
    unknown = [name for name in columns if name and name not in COLUMNS]
    if unknown or "clip" not in columns:
        raise DataError(
            "not a table of clips",
            where=f"{path}, first line",
            seen=", ".join(columns) or "nothing",
            allowed=", ".join(COLUMNS),
            remedy=(unknown and nearest(unknown[0], COLUMNS)) or "One row per clip; the column `clip` has its path",
        )
    check_unrepeated(columns, where=str(path))
    return [_job(record, columns, path) for record in records]


def _job(record: Record, columns: Sequence[str], path: Path) -> Job:
    where = f"{path}, line {record.line}"
    if record.defect:
        raise DataError("a row that does not fit the header", where=where, seen=record.defect, remedy=record.remedy)
    row = record.by_column(columns)
    if not row["clip"]:
        raise DataError("a row without a clip", where=where, remedy="Name the file, or remove it")
    given = {name: path.parent / row[name] for name in COLUMNS if row.get(name)}
    return Job(name=_inside(row["clip"]), **given)


def check_names(jobs: Sequence[Job]) -> None:
    """Raises DataError where two clips would have the same answer, or there are none."""
    seen: dict[str, Job] = {}
    for job in jobs:
        if job.name in seen:
            raise DataError(
                "two clips have the same name, and so would their answers",
                where=job.name,
                seen=f"{seen[job.name].clip} and {job.clip}",
                remedy="Name the folder above both with --recursive, or use one --out per folder",
            )
        seen[job.name] = job
    if not jobs:
        raise DataError("there are no clips", where="mer predict", code=Code.NO_CLIPS)


def run(
    jobs: Sequence[Job], predictors: Sequence[Predictor], out: Path, *, forms: Sequence[str], why: bool = False
) -> int:
    """Judges what is not done yet, with one thread per predictor, and writes the tables.

    Args:
        jobs: all clips.
        predictors: of the same version, each with guarded processes of its own.
        out: the folder.
        forms: of the answers, of `components.serving.answers.forms.FORMS`; `json` is always written.
        why: whether episodes and transitions have what they rest on.

    Returns:
        0, or the exit code of the first clip, in order of the jobs, that could not be judged.

    Raises:
        KeyboardInterrupt: what is done is kept.
        UnavailableError: the disk is full.
    """
    check_names(jobs)
    version = _version(predictors[0], forms, why=why)
    journal = Journal(out / JOURNAL)
    waiting = [job for job in jobs if journal.states.get(job.name) != job.state(version)]
    if len(waiting) < len(jobs):
        print(f"{len(jobs) - len(waiting)} of {len(jobs)} clips are done already", file=sys.stderr)
    work = _Work(predictors, out, forms=forms, version=version, journal=journal, why=why)
    with journal, progress("predict", len(waiting)) as advance:
        failed = work.all(waiting, advance)
    codes = [failed[job.name] for job in jobs if job.name in failed]
    write_tables(jobs, out)
    print(f"{len(jobs) - len(codes)} answers, {len(codes)} errors: {out / CLIPS}.csv")
    return codes[0] if codes else 0


class Journal:
    """What is done: the state of each clip whose answer was written, by its name. A context manager for writing."""

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

    def done(self, name: str, state: str) -> None:
        """Notes an answer, after it was written."""
        self._stream.write(json.dumps({name: state}) + "\n")
        self._stream.flush()


class _Work:
    """Clips handed to threads, a few ahead."""

    def __init__(
        self,
        predictors: Sequence[Predictor],
        out: Path,
        *,
        forms: Sequence[str],
        version: str,
        journal: Journal,
        why: bool,
    ) -> None:
        self._idle: SimpleQueue[Predictor] = SimpleQueue()
        for predictor in predictors:
            self._idle.put(predictor)
        self._workers = len(predictors)
        self._out, self._forms, self._version, self._journal = out, forms, version, journal
        self._patience, self._why = Patience(), why
        self._writing = threading.Lock()

    def all(self, jobs: Sequence[Job], advance: Any) -> dict[str, int]:
        """Judges all; returns the exit codes of those that failed, by name."""
        failed: dict[str, int] = {}
        running: dict[Future[int], Job] = {}
        waiting = iter(jobs)
        with ThreadPoolExecutor(self._workers) as threads:
            try:
                while True:
                    while len(running) < QUEUED_PER_WORKER * self._workers and (job := next(waiting, None)) is not None:
                        running[threads.submit(self._one, job)] = job
                    if not running:
                        return failed
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        job = running.pop(future)
                        if code := future.result():
                            failed[job.name] = code
                        advance(1)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._patience.give_up()
                raise

    def _one(self, job: Job) -> int:
        from components.serving.answers.forms import FORMS
        from components.serving.answers.schemas import Problem
        from components.serving.clips import clip_of_file

        predictor = self._idle.get()
        target = self._out / ANSWERS / f"{job.name}.json"
        state = job.state(self._version)  # before it is read: what changes meanwhile is made again
        try:
            clip = clip_of_file(
                job.clip,
                predictor.guard,
                transcript=job.transcript,
                words=job.words or (),
                physio=job.physio,
                patience=self._patience,
            )
            answer = predictor.predict(clip, patience=self._patience, why=self._why)
        except MerError as error:
            _write(target, Problem.of(error).model_dump_json(by_alias=True))
            return error.exit_code
        finally:
            self._idle.put(predictor)
        for form in dict.fromkeys(("json", *self._forms)):
            _write(target.with_name(f"{Path(job.name).name}.{form}"), FORMS[form](answer))
        with self._writing:
            self._journal.done(job.name, state)
        return 0


def write_tables(jobs: Sequence[Job], out: Path) -> None:
    """Writes the tables of all clips from their answers, one after the other."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    with atomic_file(out / MOMENTS) as beside, full_disk_named(out):
        writer = None
        for job in jobs:
            body = _read(out / ANSWERS / f"{job.name}.json")
            rows.append({"clip": job.name, **_short(body)})
            moments = None if body is None or "error" in body else _moments(job.name, body)
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
        "error": error.get("code"),
        "what": error.get("what"),
        "where": error.get("where"),
        "seen": error.get("seen"),
        "remedy": error.get("remedy"),
    }


def _read(path: Path) -> dict[str, Any] | None:
    """An answer or a problem; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as beside:
        beside.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


def _version(predictor: Predictor, forms: Sequence[str], *, why: bool) -> str:
    """What an answer is made by."""
    adapted = predictor.adaptation
    statistics = [] if adapted is None else list(adapted.modalities.values())
    numbers = sha256(b"".join(array.tobytes() for item in statistics for array in (item.mean, item.variance)))
    return fingerprint([predictor.model.model_dump_json(), numbers.hexdigest(), *sorted(forms), *["why"] * why])


def _stamp(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        state = path.stat()
    except OSError:
        return "gone"
    return f"{path} {state.st_size} {state.st_mtime_ns}"


def _inside(path: str) -> str:
    """A path as a name below the folder of answers, whatever it leads to."""
    return "/".join(part for part in Path(path).parts if part not in {"..", "/"})
