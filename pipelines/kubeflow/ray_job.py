"""A stage as a job of a Ray cluster: submitted once, found again by a retry, stopped when its task is ended.

The job's id is made of the Kubeflow run, the stage and the number of the attempt. When a task's pod is lost, the job
goes on; the pod that replaces it finds the job by its id and follows it, instead of starting a second one beside it.
SIGTERM, which a pod gets when it is deleted, when its deadline passes and when the run is terminated, stops the job.
Ray's client has no time limits of its own: a head that vanished without closing its connections would be waited for
for ever. So every question here has one, by the process's timer.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Protocol, TypeVar

from components.contracts.errors import UnavailableError

JOBS_VARIABLE = "MER_RAY_JOBS_ADDRESS"
POLL_S = 2.0
ANSWER_S = 60.0
# Less than the 30 s that Kubernetes gives a pod, more than Ray gives a job (RAY_JOB_STOP_WAIT_TIME_S in infra/).
STOP_S = 20.0
STOP_POLL_S = 1.0
PATIENCE_S = 600.0  # a head that is replaced is back within minutes
FAILED, STOPPED, SUCCEEDED = "FAILED", "STOPPED", "SUCCEEDED"
OVER = frozenset({FAILED, STOPPED, SUCCEEDED})
TERMINATED = 128 + signal.SIGTERM
JOB_FAILED = 1
# What Ray's client raises: requests' errors are OSErrors, and TimeoutError; what the server refuses is a RuntimeError.
NO_ANSWER = (OSError, RuntimeError)

T = TypeVar("T")


class Jobs(Protocol):
    """The methods of `ray.job_submission.JobSubmissionClient` that are used."""

    def list_jobs(self) -> list[Any]:
        """The jobs, each with `submission_id` and `status`."""

    def submit_job(self, *, entrypoint: str, submission_id: str, entrypoint_num_cpus: float) -> str:
        """Submits a job; raises RuntimeError when there is one of this id."""

    def get_job_status(self, job_id: str) -> Any:
        """Its status."""

    def get_job_logs(self, job_id: str) -> str:
        """Its output so far."""

    def stop_job(self, job_id: str) -> bool:
        """Asks it to stop: each of its processes gets SIGTERM, and SIGKILL after `RAY_JOB_STOP_WAIT_TIME_S` (3 s)."""


class _TerminatedError(Exception):
    """SIGTERM arrived."""


def client(address: str) -> Jobs:
    """A client of a job server; Ray takes the token from the environment. Raises UnavailableError: no answer."""
    from ray.job_submission import JobSubmissionClient

    return answer(lambda: JobSubmissionClient(address), where=address)


def answer(ask: Callable[[], T], *, where: str = "Ray") -> T:
    """What the job server answers to one question. Raises UnavailableError: nothing within `ANSWER_S`, or a refusal."""
    try:
        with _within(ANSWER_S):
            return ask()
    except NO_ANSWER as error:
        raise UnavailableError("Ray's job server does not answer", where=where, seen=str(error)) from error


def submission_name(run_id: str, stage: str) -> str:
    """The part of a job's id that all attempts share; letters, digits and `-` only."""
    return re.sub(r"[^a-zA-Z0-9-]+", "-", f"{run_id}-{stage}")


def run(jobs: Jobs, *, name: str, entrypoint: str, sleep: Callable[[float], None] = time.sleep) -> int:
    """Runs a job to its end, attaching to it where it exists; returns an exit code.

    Args:
        jobs: a client.
        name: see `submission_name`.
        entrypoint: a shell command.
        sleep: waits between two looks at the job.

    Raises:
        UnavailableError: the server did not answer for ten minutes.
    """
    asked = _Patient(sleep=sleep)
    job_id = ""
    with _sigterm_raises():
        try:
            job_id = asked(lambda: _current(jobs, name, entrypoint))
            status = _follow(jobs, job_id, asked)
        except _TerminatedError:
            _stop(jobs, name, job_id, sleep)
            return TERMINATED
    print(f"Ray job {job_id}: {status}", file=sys.stderr)
    return 0 if status == SUCCEEDED else JOB_FAILED


def _current(jobs: Jobs, name: str, entrypoint: str) -> str:
    """The id of the newest attempt; a new one is submitted after those that failed or were stopped."""
    known = {job.submission_id: str(job.status.value) for job in jobs.list_jobs()}
    attempts = (f"{name}-{number}" for number in count(1))
    job_id = next(attempt for attempt in attempts if known.get(attempt) not in {FAILED, STOPPED})
    if job_id in known:
        print(f"Ray job {job_id}: {known[job_id]}; following it", file=sys.stderr)
        return job_id
    # The head has no CPUs, so a driver that takes one runs on a worker.
    jobs.submit_job(entrypoint=entrypoint, submission_id=job_id, entrypoint_num_cpus=1)
    print(f"Ray job {job_id}: submitted", file=sys.stderr)
    return job_id


def _follow(jobs: Jobs, job_id: str, asked: _Patient) -> str:
    shown = 0
    while True:
        status = asked(lambda: str(jobs.get_job_status(job_id).value))
        text = asked(lambda: jobs.get_job_logs(job_id))
        print(text[shown:], end="", flush=True)
        shown = len(text)
        if status in OVER:
            return status
        asked.sleep(POLL_S)


def _stop(jobs: Jobs, name: str, job_id: str, sleep: Callable[[float], None]) -> None:
    """Asks once for an end of what runs under a name, and waits for it, `STOP_S` in all; prints how it ended.

    A job that is known is stopped first, since the pod may be gone at any moment. Then they are looked up: SIGTERM may
    have arrived while one was being submitted.
    """
    deadline = time.monotonic() + STOP_S
    told: set[str] = set()
    pending = [job_id] if job_id else []
    while (left_s := deadline - time.monotonic()) > 0.0:
        try:
            with _within(left_s):
                for pending_id in (each for each in pending if each not in told):
                    jobs.stop_job(pending_id)
                    told.add(pending_id)
                pending = [job.submission_id for job in jobs.list_jobs() if _runs(job, name)]
        except NO_ANSWER as error:
            why, pending = f"Ray's job server does not answer: {error}", []
            sleep(STOP_POLL_S)
            continue
        if not pending:
            print(f"Ray job {', '.join(sorted(told)) or name}: stopped, since the task is ended", file=sys.stderr)
            return
        why = f"still running: {', '.join(pending)}"
        sleep(0.0 if set(pending) - told else STOP_POLL_S)
    print(f"Ray job {name}: not stopped within {STOP_S:g} s; the run's last task stops it. {why}", file=sys.stderr)


def _runs(job: Any, name: str) -> bool:
    return (job.submission_id or "").rpartition("-")[0] == name and str(job.status.value) not in OVER


class _Patient:
    """Asks again for a while where the server does not answer: a head that died is replaced."""

    def __init__(self, *, sleep: Callable[[float], None]) -> None:
        self.sleep = sleep

    def __call__(self, ask: Callable[[], T]) -> T:
        begin, patient = time.monotonic(), False
        while True:
            try:
                return answer(ask)
            except UnavailableError as error:
                if time.monotonic() - begin >= PATIENCE_S:
                    raise
                if not patient:
                    print(f"{error.what}, asking again: {error.seen}", file=sys.stderr)
                patient = True
            self.sleep(POLL_S)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        # Once: a pod's first process passes on what its whole group has got already.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what takes longer; in the main thread only, as all signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    outer_s, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, outer_s)
