"""`mer predict … --out DIR`: many clips into a folder of answers, which the same command goes on with.

    DIR/answers/NAME.json    one answer per clip, and its other forms beside it
    DIR/clips.csv, .parquet  one row per clip: the answer in short, or the error
    DIR/moments.parquet      one row per moment of all clips
    DIR/journal.jsonl        what is done: an answer is made again when its clip, its words or the version are others

Nothing is held in memory but the clips that are being judged and one answer of the tables at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is made of each clip.

    Attributes:
        out: the folder.
        forms: of the answers, of `components.serving.answers.forms.FORMS`; `json` is always written.
        why: whether episodes and transitions have what they rest on.
        version: changes with what an answer is made by.
    """

    out: Path
    forms: tuple[str, ...]
    why: bool
    version: str

    @classmethod
    def of(cls, predictor: Predictor, out: Path, forms: Sequence[str], *, why: bool) -> Order:
        """For the answers of a predictor."""
        return cls(out=out, forms=tuple(forms), why=why, version=_version(predictor, forms, why=why))

    def answer(self, job: ClipFiles, predictor: Predictor, patience: Patience) -> Done:
        """Judges one clip and writes its answer, or why there is none. Raises GivenUpError as the predictor."""
        from components.serving.answers.forms import FORMS

        target = self.out / ANSWERS / f"{job.name}.json"
        state = state_of(job, self.version)  # before it is read: what changes meanwhile is made again
        try:
            answer = answer_of(job, predictor, patience, why=self.why)
        except MerError as error:
            write_problem(target, error)
            return Done(name=job.name, code=error.exit_code, state=state)
        for form in dict.fromkeys(("json", *self.forms)):
            write_text(target.with_name(f"{Path(job.name).name}.{form}"), FORMS[form](answer))
        return Done(name=job.name, code=0, state=state)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a clip: 0 or the exit code of its error, and the state that it was judged in."""

    name: str
    code: int
    state: str


# Answers clips in any order, a few at a time.
Judged = Callable[[Sequence[ClipFiles]], Generator[Done, None, None]]


def run(jobs: Sequence[ClipFiles], order: Order, judged: Judged) -> int:
    """Judges what is not done yet, and writes the tables.

    Args:
        jobs: all clips.
        order: what is made of them.
        judged: answers clips: `in_threads`, or those of `on_ray.py`.

    Returns:
        0, or the exit code of the first clip, in order of the jobs, that could not be judged.

    Raises:
        KeyboardInterrupt: what is done is kept.
        UnavailableError: the disk is full.
    """
    check_names(jobs)
    out = order.out
    journal = Journal(out / JOURNAL)
    waiting = [job for job in jobs if journal.states.get(job.name) != state_of(job, order.version)]
    if len(waiting) < len(jobs):
        print(f"{len(jobs) - len(waiting)} of {len(jobs)} clips are done already", file=sys.stderr)
    failed: dict[str, int] = {}
    with journal, progress("predict", len(waiting)) as advance, closing(judged(waiting)) as answers:
        for done in answers:
            if done.code:
                failed[done.name] = done.code
            else:
                journal.note(done.name, done.state)
            advance(1)
    codes = [failed[job.name] for job in jobs if job.name in failed]
    write_tables([(job.name, out / ANSWERS / f"{job.name}.json") for job in jobs], out)
    print(f"{len(jobs) - len(codes)} answers, {len(codes)} errors: {out / CLIPS}.csv")
    return codes[0] if codes else 0


def in_threads(predictors: Sequence[Predictor], order: Order) -> Judged:
    """With one thread per predictor; these are of the same version, each with guarded processes of its own. What is
    running when the caller stops is given up."""
    idle: SimpleQueue[Predictor] = SimpleQueue()
    for predictor in predictors:
        idle.put(predictor)
    patience = Patience()

    def one(job: ClipFiles) -> Done:
        predictor = idle.get()
        try:
            return order.answer(job, predictor, patience)
        finally:
            idle.put(predictor)

    def judged(jobs: Sequence[ClipFiles]) -> Generator[Done, None, None]:
        running: set[Future[Done]] = set()
        waiting = iter(jobs)
        with ThreadPoolExecutor(len(predictors)) as threads:
            try:
                while True:
                    ahead = QUEUED_PER_WORKER * len(predictors) - len(running)
                    running.update(threads.submit(one, job) for job in islice(waiting, ahead))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                patience.give_up()
                raise

    return judged


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
