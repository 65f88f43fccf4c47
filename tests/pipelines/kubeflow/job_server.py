"""A real Ray job server, and waiting for what it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import yaml

from components.contracts.errors import UnavailableError
from pipelines.commands.service.mlflow_server import free_port
from pipelines.kubeflow import ray_job
from tests.pipelines.projects import ROOT

ENVIRONMENT = yaml.safe_load((ROOT / "infra" / "base" / "config.yaml").read_text())["data"]
START_S = 300.0  # on a busy machine


@contextmanager
def job_server(folder: Path) -> Iterator[str]:
    """The address of a head with a job server and one CPU, in processes of its own; its log is in a folder."""
    port, agent_port, client_port = (free_port(0, "head", strict=True) for _ in range(3))
    ray = Path(sys.executable).with_name("ray")
    stop_wait = "RAY_JOB_STOP_WAIT_TIME_S"
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", stop_wait: ENVIRONMENT[stop_wait]}
    head = [str(ray), "start", "--head", "--block", "--port=0", "--num-cpus=1", "--object-store-memory=100000000"]
    address = f"http://127.0.0.1:{port}"
    with (folder / "head.log").open("w") as output:
        process = subprocess.Popen(
            # Jobs are started by the node's agent, which listens nowhere where the Ray of another test has its port.
            [
                *head,
                "--include-dashboard=true",
                f"--dashboard-port={port}",
                f"--dashboard-agent-listen-port={agent_port}",
                f"--ray-client-server-port={client_port}",
            ],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: answers(address), START_S)
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


def until(condition: Callable[[], bool], limit_s: float = 120.0) -> None:
    for _ in range(int(5 * limit_s)):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it did not happen")
