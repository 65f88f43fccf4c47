"""Jobs on disk: one folder each, which every replica of a machine reads and writes, and none of them owns.

    ROOT/ID/job.json      what was asked, by whom, and when
    ROOT/ID/files/…       the files that came with it, each until its clip is done
    ROOT/ID/claims/N      locked by whoever judges clip N; the kernel frees the lock with its process
    ROOT/ID/answers/N.json, journal.jsonl, and in the end clips.parquet, moments.parquet, finished.json

So a job outlives the replica that works on it, and the service: another one goes on, and only the clip that was being
judged is judged again. A clip during which replicas ended `ATTEMPTS` times is given up as an error. No Ray here.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.contracts.atomic import read_json, write_json
from components.contracts.codes import Code
from components.contracts.errors import DataError, MediaError, UnavailableError
from components.contracts.room import full_disk_named
from components.runtime.own_folder import OwnFolder
from components.serving.batch.answered import CLIPS, JOURNAL, MOMENTS, Journal, write_problem, write_tables
from components.serving.batch.schemas import Batch, BatchClip, BatchRequest, BatchState

NEW, GONE = ".new-", ".gone-"
JOB, FILES, CLAIMS, ANSWERS, FINISHED = "job.json", "files", "claims", "answers", "finished.json"
# Table → its file.
TABLES: Mapping[str, str] = {"clips": f"{CLIPS}.parquet", "moments": MOMENTS}
ATTEMPTS = 3
BEGUN, ANSWERED, FAILED = "begun", "answered", "failed"


class JobRecord(BaseModel):
    """The content of `job.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: str
    created_s: float
    fingerprint: str
    request: BatchRequest


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a client, as it was asked for."""

    folder: Path

    @property
    def id(self) -> str:
        """Its name."""
        return self.folder.name

    @cached_property
    def record(self) -> JobRecord:
        """What was asked."""
        return JobRecord.model_validate_json((self.folder / JOB).read_bytes())

    @property
    def finished_s(self) -> float | None:
        """When its results were complete; None before."""
        with suppress(FileNotFoundError):
            return float(read_json(self.folder / FINISHED)["finished_s"])
        return None

    def states(self) -> list[str]:
        """Of each clip: nothing, `begun N`, `answered` or `failed`."""
        noted = Journal(self.folder / JOURNAL).states
        return [noted.get(str(number), "") for number in range(len(self.record.request.clips))]

    def status(self, keep_s: float) -> Batch:
        """As a client sees it; results are kept for `keep_s` seconds."""
        states, finished_s = self.states(), self.finished_s
        begun = BatchState.RUNNING if any(states) else BatchState.WAITING
        return Batch(
            id=self.id,
            state=begun if finished_s is None else BatchState.FINISHED,
            clips=len(states),
            answered=states.count(ANSWERED),
            failed=states.count(FAILED),
            created_at=_utc(self.record.created_s),
            finished_at=None if finished_s is None else _utc(finished_s),
            deleted_at=None if finished_s is None else _utc(finished_s + keep_s),
        )

    def sent(self, part: str, name: str) -> Path:
        """Where a file of the request is."""
        return self.folder / FILES / part / name

    def answer(self, number: int) -> Path:
        """The file for the answer about a clip."""
        return self.folder / ANSWERS / f"{number}.json"

    def note(self, number: int, state: str) -> None:
        """Notes how far a clip is, unless the job was deleted."""
        if self.gone():
            return
        with full_disk_named(self.folder), Journal(self.folder / JOURNAL) as journal:
            journal.note(str(number), state)

    def gone(self) -> bool:
        """Whether somebody has deleted it meanwhile."""
        return not (self.folder / JOB).is_file()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A clip that this process alone works on."""

    job: Job
    number: int

    @property
    def clip(self) -> BatchClip:
        """Which it is."""
        return self.job.record.request.clips[self.number]

    def end(self, state: str) -> None:
        """Notes the clip's outcome, deletes its files, and writes the results where it was the last."""
        self.job.note(self.number, state)
        for part, name in (("clip", self.clip.clip), ("physio", self.clip.physio)):
            if name is not None and not self._needed_later(part, name):
                self.job.sent(part, name).unlink(missing_ok=True)

    def _needed_later(self, part: str, name: str) -> bool:
        clips = self.job.record.request.clips
        return any(
            state not in (ANSWERED, FAILED) and getattr(clip, part) == name
            for clip, state in zip(clips, self.job.states(), strict=True)
        )


@dataclass(kw_only=True)
class Jobs:
    """All jobs of a machine.

    Args:
        root: their folder; None: this service takes none.
        most: unfinished jobs of one owner.
        keep_s: for how long results are kept.
    """

    root: Path | None
    most: int
    keep_s: float
    _served: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Their folder. Raises UnavailableError where the service takes none."""
        if self.root is None:
            raise UnavailableError(
                "this service takes no jobs",
                where="POST /v1/predict:batch",
                remedy="It needs a folder that all its replicas share: `batches` among the arguments of the replicas.",
            )
        return self.root

    def new(self) -> OwnFolder:
        """A folder for the files of a job that is being received, gone with this process unless it is added."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return OwnFolder(NEW, parent=self.folder)

    def add(self, received: OwnFolder, request: BatchRequest, *, owner: str, key: str | None, content: str) -> Job:
        """Makes a job of what was received; with a key that was used before, gives that job.

        Args:
            received: of `new`, with the files of the request.
            request: what was asked.
            owner: who asked; others do not see the job.
            key: of idempotency, chosen by the client.
            content: fingerprint of the files.

        Raises:
            DataError: the key was used for something else (`key-reused`).
            UnavailableError: the owner has too many jobs (`too-many`), or the disk is full (`no-room`).
        """
        named = secrets.token_hex(16) if key is None else sha256(f"{owner}\0{key}".encode()).hexdigest()[:32]
        body = request.model_dump_json()
        record = JobRecord(
            owner=owner,
            created_s=time.time(),
            fingerprint=sha256(f"{content}\0{body}".encode()).hexdigest(),
            request=request,
        )
        job = Job(folder=self.folder / named)
        if not job.gone():
            return _same(job, record)
        self._check_number(owner)
        with full_disk_named(received.path):
            for name in (CLAIMS, ANSWERS):
                (received.path / name).mkdir()
            (received.path / JOB).write_text(record.model_dump_json(), encoding="utf-8")
        try:
            received.keep(job.folder)
        except OSError:
            if job.gone():
                raise
            return _same(job, record)  # the same key, sent twice at a time
        return job

    def _check_number(self, owner: str) -> None:
        present = sum(job.record.owner == owner and job.finished_s is None for job in self.all())
        if present >= self.most:
            raise UnavailableError(
                "too many jobs at once",
                where="POST /v1/predict:batch",
                seen=f"{present} that are not finished",
                allowed=f"{self.most} per key",
                remedy="Send it again when one of them is finished, or delete one.",
                code=Code.TOO_MANY,
            )

    def get(self, name: str, *, owner: str) -> Job:
        """The job of that name and owner. Raises DataError (`no-batch`) without one."""
        job = Job(folder=self.folder / name)
        if len(name) != 32 or not set(name) <= set("0123456789abcdef") or job.gone() or job.record.owner != owner:
            raise DataError(
                "there is no such job",
                where=f"/v1/predict:batch/{name[:40]}",
                remedy="Only the key that made a job sees it, and its results are deleted after a time.",
                code=Code.NO_BATCH,
            )
        return job

    def delete(self, job: Job) -> None:
        """Ends a job and removes all of it, at once for everybody who looks."""
        gone = self.folder / f"{GONE}{job.id}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            os.rename(job.folder, gone)
            shutil.rmtree(gone, ignore_errors=True)

    def result(self, job: Job, table: str) -> Path:
        """The file of a table of a job. Raises UnavailableError (`unfinished`) before the job is finished."""
        if job.finished_s is None:
            status = job.status(self.keep_s)
            raise UnavailableError(
                "the job is not finished",
                where=f"/v1/predict:batch/{job.id}",
                seen=f"{status.answered + status.failed} of {status.clips} clips",
                remedy="Ask for its state, and then for the result.",
                code=Code.UNFINISHED,
            )
        return job.folder / TABLES[table]

    def all(self) -> list[Job]:
        """All jobs, the oldest first."""
        if self.root is None or not self.root.is_dir():
            return []
        jobs = [Job(folder=folder) for folder in self.root.iterdir() if not folder.name.startswith(".")]
        return sorted((job for job in jobs if not job.gone()), key=lambda job: (job.record.created_s, job.id))

    def sweep(self) -> None:
        """Deletes what is older than it is kept, and what is left of jobs that were deleted."""
        if self.root is None or not self.root.is_dir():
            return
        for job in self.all():
            if (finished_s := job.finished_s) is not None and time.time() > finished_s + self.keep_s:
                self.delete(job)
        for folder in self.root.iterdir():
            if folder.name.startswith(GONE) or (not folder.name.startswith(".") and Job(folder=folder).gone()):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def claimed(self) -> Iterator[Claim | None]:
        """A clip for this process to judge, until the block ends; None where nothing waits. The owner whose turn was
        longest ago comes first, then the oldest job. On leaving it, a job without further clips is finished."""
        for job in sorted(
            (job for job in self.all() if job.finished_s is None),
            key=lambda job: self._served.get(job.record.owner, 0.0),
        ):
            for number, state in enumerate(job.states()):
                if state in (ANSWERED, FAILED):
                    continue
                with _locked(job.folder / CLAIMS / str(number)) as free:
                    if not free or not self._may_begin(job, number):
                        continue
                    self._served[job.record.owner] = time.monotonic()
                    yield Claim(job=job, number=number)
                self.finish(job)
                return
            self.finish(job)
        yield None

    def _may_begin(self, job: Job, number: int) -> bool:
        """Notes that a clip is begun; a clip that was begun too often, or is done meanwhile, is not."""
        state = job.states()[number]
        if state in (ANSWERED, FAILED):
            return False
        times = int(state.removeprefix(BEGUN) or 0)
        if times < ATTEMPTS:
            job.note(number, f"{BEGUN} {times + 1}")
            return True
        error = MediaError(
            "the replicas that judged this clip ended before they had done so",
            where=job.record.request.clips[number].shown,
            seen=f"{times} times",
            remedy="Their logs are in Ray's folder; send the clip alone.",
            code=Code.CRASHED,
        )
        write_problem(job.answer(number), error)
        Claim(job=job, number=number).end(FAILED)
        return False

    def finish(self, job: Job) -> None:
        """Writes the results of a job all of whose clips are done, unless another process does."""
        if job.gone() or not all(state in (ANSWERED, FAILED) for state in job.states()):
            return
        with _locked(job.folder / CLAIMS / "end") as free:
            if not free or job.finished_s is not None:
                return
            clips = job.record.request.clips
            write_tables(((clip.shown, job.answer(number)) for number, clip in enumerate(clips)), job.folder)
            write_json(job.folder / FINISHED, {"finished_s": time.time()})
            shutil.rmtree(job.folder / FILES, ignore_errors=True)


def _same(job: Job, asked: JobRecord) -> Job:
    if job.record.fingerprint == asked.fingerprint:
        return job
    raise DataError(
        "this key of idempotency was used for a different job",
        where="Idempotency-Key",
        remedy="Choose a new key for a new job.",
        code=Code.KEY_REUSED,
    )


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether this process has the lock, which it holds until the block ends; False, too, where the folder is gone."""
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        yield False
        return
    try:
        yield True
    finally:
        os.close(lock)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
