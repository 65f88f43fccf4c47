"""A stage's job against a real Ray job server, with tasks that are killed and ended. Starting the server takes seconds,
so what a task can meet is one story."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from components.contracts.errors import UnavailableError
from pipelines.commands.service.mlflow_server import free_port
from pipelines.kubeflow import ray_job

TASK = """
import sys
from pipelines.kubeflow import ray_job
sys.exit(ray_job.run(ray_job.client(sys.argv[1]), name=sys.argv[2], entrypoint=sys.argv[3]))
"""


def test_a_name_holds_letters_digits_and_dashes_and_is_the_same_for_a_retry() -> None:
    name = ray_job.submission_name("7c1e-4", "features@my_set")
    assert name == "7c1e-4-features-my-set" == ray_job.submission_name("7c1e-4", "features@my_set")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A head with a job server and one CPU, in processes of its own."""
    port, agent_port = (free_port(0, "head", strict=True) for _ in range(2))
    ray = Path(sys.executable).with_name("ray")
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    head = [str(ray), "start", "--head", "--block", "--port=0", "--num-cpus=1", "--object-store-memory=100000000"]
    address = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("ray") / "head.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            # Jobs are started by the node's agent, which listens nowhere where the Ray of another test has its port.
            [
                *head,
                "--include-dashboard=true",
                f"--dashboard-port={port}",
                f"--dashboard-agent-listen-port={agent_port}",
            ],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: answers(address))
            yield address
        finally:
            kill_all(psutil.Process(process.pid))


def kill_all(head: psutil.Process) -> None:
    """Asked to end, a head waits for its parts for half a minute; nobody needs what they would still do."""
    parts = [head, *head.children(recursive=True)]
    for part in parts:
        with suppress(psutil.NoSuchProcess):
            part.kill()
    assert not psutil.wait_procs(parts, timeout=30)[1]


def answers(address: str) -> bool:
    try:
        ray_job.client(address).list_jobs()
    except (UnavailableError, *ray_job.NO_ANSWER):
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it did not happen")


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
    assert ended.wait() == ray_job.TERMINATED
    status = {job.submission_id: str(job.status.value) for job in jobs.list_jobs()}
    assert status == {
        "run-train-1": "SUCCEEDED",
        "run-evaluate-1": "FAILED",
        "run-evaluate-2": "SUCCEEDED",
        "run-features-1": "STOPPED",
    }
