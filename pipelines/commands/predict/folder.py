"""`mer predict … --out DIR`: many clips into a folder of answers, which the same command goes on with.

    DIR/answers/NAME.json    one answer per clip, and its other forms beside it
    DIR/clips.csv, .parquet  one row per clip: the answer in short, or the error
    DIR/moments.parquet      one row per moment of all clips
    DIR/journal.jsonl        what is done: an answer is made again when its clip, its words or the version are others

Nothing is held in memory but the clips that are being judged and one answer of the tables at a time.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from components.contracts.codes import Code
from components.contracts.errors import DataError, MerError, nearest
from components.contracts.fingerprint import fingerprint
from components.datasets.table import HEADER_QUOTES, Record, check_unrepeated, parse
from components.runtime.patience import Patience
from components.runtime.progress import progress
from components.serving.batch.answered import (
    CLIPS,
    JOURNAL,
    ClipFiles,
    Journal,
    answer_of,
    write_problem,
    write_tables,
    write_text,
)

if TYPE_CHECKING:
    from components.serving.predictor import Predictor

ANSWERS = "answers"
MANIFEST = ".csv"
COLUMNS = ("clip", "transcript", "words", "physio")
QUEUED_PER_WORKER = 2


def from_manifest(path: Path) -> list[ClipFiles]:
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


def _job(record: Record, columns: Sequence[str], path: Path) -> ClipFiles:
    where = f"{path}, line {record.line}"
    if record.defect:
        raise DataError("a row that does not fit the header", where=where, seen=record.defect, remedy=record.remedy)
    row = record.by_column(columns)
    if not row["clip"]:
        raise DataError("a row without a clip", where=where, remedy="Name the file, or remove it")
    clip, transcript, words, physio = (path.parent / row[name] if row.get(name) else None for name in COLUMNS)
    assert clip is not None
    return ClipFiles(name=_inside(row["clip"]), clip=clip, transcript=transcript, words=words, physio=physio)


def state_of(job: ClipFiles, version: str) -> str:
    """Changes with the version and with what the files are, by their sizes and times."""
    files = (job.clip, job.transcript, job.words, job.physio)
    return fingerprint([version, *(_stamp(path) for path in files)])


def check_names(jobs: Sequence[ClipFiles]) -> None:
    """Raises DataError where two clips would have the same answer, or there are none."""
    seen: dict[str, ClipFiles] = {}
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
    jobs: Sequence[ClipFiles], predictors: Sequence[Predictor], out: Path, *, forms: Sequence[str], why: bool = False
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
    waiting = [job for job in jobs if journal.states.get(job.name) != state_of(job, version)]
    if len(waiting) < len(jobs):
        print(f"{len(jobs) - len(waiting)} of {len(jobs)} clips are done already", file=sys.stderr)
    work = _Work(predictors, out, forms=forms, version=version, journal=journal, why=why)
    with journal, progress("predict", len(waiting)) as advance:
        failed = work.all(waiting, advance)
    codes = [failed[job.name] for job in jobs if job.name in failed]
    write_tables([(job.name, out / ANSWERS / f"{job.name}.json") for job in jobs], out)
    print(f"{len(jobs) - len(codes)} answers, {len(codes)} errors: {out / CLIPS}.csv")
    return codes[0] if codes else 0


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

    def all(self, jobs: Sequence[ClipFiles], advance: Any) -> dict[str, int]:
        """Judges all; returns the exit codes of those that failed, by name."""
        failed: dict[str, int] = {}
        running: dict[Future[int], ClipFiles] = {}
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

    def _one(self, job: ClipFiles) -> int:
        from components.serving.answers.forms import FORMS

        predictor = self._idle.get()
        target = self._out / ANSWERS / f"{job.name}.json"
        state = state_of(job, self._version)  # before it is read: what changes meanwhile is made again
        try:
            answer = answer_of(job, predictor, self._patience, why=self._why)
        except MerError as error:
            write_problem(target, error)
            return error.exit_code
        finally:
            self._idle.put(predictor)
        for form in dict.fromkeys(("json", *self._forms)):
            write_text(target.with_name(f"{Path(job.name).name}.{form}"), FORMS[form](answer))
        with self._writing:
            self._journal.note(job.name, state)
        return 0


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
