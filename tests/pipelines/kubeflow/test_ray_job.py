"""A stage's job against a real Ray job server, with tasks that are killed and ended. Starting the server takes seconds,
so what a task can meet is one story; a server that hangs is the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from components.contracts.errors import UnavailableError
from pipelines.kubeflow import ray_job
from tests.pipelines.kubeflow.job_server import job_server, until

TASK = """
import sys
from pipelines.kubeflow import ray_job
sys.exit(ray_job.run(ray_job.client(sys.argv[1]), name=sys.argv[2], entrypoint=sys.argv[3]))
"""


def test_a_name_holds_letters_digits_and_dashes_and_is_the_same_for_a_retry() -> None:
    name = ray_job.submission_name("7c1e-4", "features@my_set")
    assert name == "7c1e-4-features-my-set" == ray_job.submission_name("7c1e-4", "features@my_set")


class Hanging(BaseHTTPRequestHandler):
    """Says its version, and answers nothing else."""

    def do_GET(self) -> None:
        body = json.dumps({"ray_version": ray.__version__}).encode()
        if self.path != "/api/version":
            time.sleep(60)
        with suppress(ConnectionError):  # whoever asked is gone by then
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def hanging() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.integration
def test_a_server_that_accepts_and_does_not_answer_holds_up_neither_a_question_nor_the_end(
    hanging: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_job, "ANSWER_S", 0.3)
    monkeypatch.setattr(ray_job, "PATIENCE_S", 0.5)
    monkeypatch.setattr(ray_job, "STOP_S", 0.5)
    jobs = ray_job.client(hanging)
    with pytest.raises(UnavailableError, match="does not answer"):
        ray_job.run(jobs, name="run-train", entrypoint="true", sleep=lambda seconds: None)
    assert capsys.readouterr().err.count("asking again") == 1

    monkeypatch.setattr(ray_job, "PATIENCE_S", 60.0)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    begin = time.monotonic()
    assert ray_job.run(jobs, name="run-train", entrypoint="true", sleep=lambda seconds: None) == ray_job.TERMINATED
    assert time.monotonic() - begin < 10.0
    assert capsys.readouterr().err.splitlines()[-1].startswith("Ray job run-train: not stopped within 0.5 s")


@dataclass
class Replaced:
    """The job server of a head that lost its jobs: it refuses to stop one, and then runs none."""

    stops: list[str] = field(default_factory=list)

    def list_jobs(self) -> list[Any]:
        return []

    def submit_job(self, *, entrypoint: str, submission_id: str, entrypoint_num_cpus: float) -> str:
        return submission_id

    def get_job_status(self, job_id: str) -> Any:
        return SimpleNamespace(value="RUNNING")

    def get_job_logs(self, job_id: str) -> str:
        return ""

    def stop_job(self, job_id: str) -> bool:
        self.stops.append(job_id)
        raise RuntimeError("404")


def test_a_job_that_the_server_does_not_know_any_more_is_asked_for_once(capsys: pytest.CaptureFixture[str]) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:  # while it is followed
            os.kill(os.getpid(), signal.SIGTERM)

    jobs = Replaced()
    assert ray_job.run(jobs, name="run-train", entrypoint="true", sleep=sleep) == ray_job.TERMINATED
    assert jobs.stops == ["run-train-1"]
    assert slept == [ray_job.POLL_S, ray_job.STOP_POLL_S]
    assert capsys.readouterr().err.splitlines()[-1] == "Ray job run-train: stopped, since the task is ended"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with job_server(tmp_path_factory.mktemp("ray")) as server:
        yield server


def a_task(address: str, name: str, entrypoint: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", TASK, address, name, entrypoint])


@pytest.mark.integration
def test_jobs_are_found_again_repeated_and_stopped(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = ray_job.client(address)
    started, go = tmp_path / "started", tmp_path / "go"
    work = f"sh -c 'echo started >> {started}; while [ ! -e {go} ]; do sleep 0.2; done; echo the figures'"

    # The pod is lost without a word: the job goes on, and the next pod follows it instead of starting a second one.
    lost = a_task(address, "run-train", work)
    until(started.exists)
    lost.kill()
    lost.wait()
    retry = a_task(address, "run-train", work)
    time.sleep(1)
    go.touch()
    assert retry.wait() == 0
    assert started.read_text() == "started\n"
    assert "the figures" in capfd.readouterr().out
    # A retry of a task whose job has succeeded meanwhile runs nothing.
    assert ray_job.run(jobs, name="run-train", entrypoint=work) == 0
    assert started.read_text() == "started\n"

    # A job that failed is repeated under the next number.
    assert ray_job.run(jobs, name="run-evaluate", entrypoint="sh -c 'exit 3'") == ray_job.JOB_FAILED
    assert ray_job.run(jobs, name="run-evaluate", entrypoint="sh -c 'exit 0'") == 0

    # The pod is ended: so is its job.
    ended = a_task(address, "run-features", f"sh -c 'touch {tmp_path}/long; sleep 600'")
    until((tmp_path / "long").exists)
    ended.send_signal(signal.SIGTERM)
    ended.send_signal(signal.SIGTERM)  # of the pod's first process, and of the container's runtime
    assert ended.wait() == ray_job.TERMINATED
    assert capfd.readouterr().err.splitlines()[-1] == "Ray job run-features-1: stopped, since the task is ended"
    status = {job.submission_id: str(job.status.value) for job in jobs.list_jobs()}
    assert status == {
        "run-train-1": "SUCCEEDED",
        "run-evaluate-1": "FAILED",
        "run-evaluate-2": "SUCCEEDED",
        "run-features-1": "STOPPED",
    }
