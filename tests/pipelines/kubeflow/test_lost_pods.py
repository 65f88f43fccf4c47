"""Tasks in pods that are lost and ended, on one workspace and a real Ray job server, each in a PID namespace
of its own; `pytest -m bench tests/pipelines/kubeflow/test_lost_pods.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import lease
from pipelines.code import code_sha256, running_code
from pipelines.kubeflow import ray_job
from pipelines.loop.clone import FILE
from tests.namespaces import own_pid_namespace
from tests.pipelines.kubeflow.job_server import job_server, until

CODE = code_sha256(running_code())
STAGE = "catalog"
# Says that it has begun, and goes on when it is told to.
LINE = """
stages:
  {stage}:
    cmd: >-
      sh -c 'echo {word} >> started; while [ ! -e go ]; do sleep 0.1; done;
      mkdir -p data/catalog; echo {word} > data/catalog/a'
    outs: [data/catalog]
"""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A task's process, and what it has said."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that this task brings about while it runs."""

        def so() -> bool:
            assert self.process.poll() is None, self.said
            return condition()

        until(so)

    def lose(self) -> None:
        """Without a word: the namespace ends with its first process."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """As Kubernetes ends a pod: SIGTERM to its first process."""
        outside = self.process.pid
        (first,) = (int(pid) for pid in Path(f"/proc/{outside}/task/{outside}/children").read_text().split())
        os.kill(first, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A project that all pods mount."""

    root: Path
    address: str

    def pod(self, run_id: str, *, on_ray: bool = True) -> Pod:
        """`mer kfp task` as the pipeline calls it."""
        command = [sys.executable, "-P", "-m", "pipelines.cli", "kfp", "task", STAGE, "--run-id", run_id]
        environment = {**os.environ, ray_job.JOBS_VARIABLE: self.address if on_ray else ""}
        log = self.root.parent / f"{run_id}-{len(list(self.root.parent.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*own_pid_namespace(), *command, "--code", CODE],
                cwd=self.root,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Pod(process=process, log=log)

    def write(self, word: str) -> None:
        """A stage that has to run, and waits."""
        (self.root / "dvc.yaml").write_text(LINE.format(stage=STAGE, word=word))
        (self.root / "go").unlink(missing_ok=True)

    def go(self) -> None:
        (self.root / "go").touch()

    @property
    def started(self) -> list[str]:
        path = self.root / "started"
        return path.read_text().split() if path.exists() else []

    @property
    def leases(self) -> list[int]:
        return [int(path.name) for path in (self.root / lease.FOLDER).iterdir() if path.name.isdecimal()]

    def jobs(self) -> dict[str, str]:
        return {job.submission_id: str(job.status.value) for job in ray_job.client(self.address).list_jobs()}


@pytest.fixture
def workspace(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    own_pid_namespace()  # skips before Ray is started
    with job_server(tmp_path_factory.mktemp("ray")) as address:
        yield Workspace(root=project, address=address)


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_a_stage_runs_once_whatever_becomes_of_its_pods(workspace: Workspace) -> None:
    # The pod is lost; its job goes on, and the next attempt, which numbers its processes anew, follows it.
    workspace.write("one")
    lost = workspace.pod("r1")
    lost.until(lambda: workspace.started == ["one"])
    lost.lose()
    retry = workspace.pod("r1")
    retry.until(lambda: "following it" in retry.said)
    # A run beside it, which is on no cluster, waits for whoever works on the stage, and then has nothing to do.
    beside = workspace.pod("r2", on_ray=False)
    beside.until(lambda: "a different process works on it; waiting" in beside.said)
    workspace.go()
    assert retry.process.wait() == 0, retry.said
    assert beside.process.wait() == 0, beside.said
    assert workspace.started == ["one"]
    assert workspace.jobs() == {"r1-catalog-1": "SUCCEEDED"}
    until(lambda: not workspace.leases)

    # The pod is ended: its job stops and gives its lease back at once, so that the next attempt does not wait.
    workspace.write("two")
    before = (workspace.root / FILE).read_text()
    ended = workspace.pod("r3")
    ended.until(lambda: workspace.started == ["one", "two"])
    ended.end()
    assert ended.process.wait() == ray_job.TERMINATED, ended.said
    assert ended.said.count("stopped, since the task is ended") == 1
    assert not workspace.leases
    assert workspace.jobs()["r3-catalog-1"] == "STOPPED"
    assert (workspace.root / FILE).read_text() == before
    workspace.go()
    again = workspace.pod("r3")
    assert again.process.wait() == 0, again.said
    assert workspace.jobs()["r3-catalog-2"] == "SUCCEEDED"
    assert workspace.started == ["one", "two", "two"]
