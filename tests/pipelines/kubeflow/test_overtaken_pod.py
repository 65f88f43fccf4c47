"""A task whose lease was taken, since it seemed to be gone, and the one that took it, each in a PID namespace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import lease
from pipelines.code import SAME
from pipelines.dvc_quietly import LOST
from pipelines.kubeflow import ray_job
from pipelines.loop.clone import FILE
from tests.namespaces import own_pid_namespace

STAGE = "catalog"
# Says that it has begun, and goes on when it is told to.
LINE = """
stages:
  catalog:
    cmd: >-
      sh -c 'echo begun >> begun; while [ ! -e go ]; do sleep 0.1; done; mkdir -p data/catalog; date > data/catalog/a'
    outs: [data/catalog]
"""


def pod(root: Path, run_id: str) -> subprocess.Popen[bytes]:
    """`mer kfp task` as the pipeline calls it, in a workspace that other pods mount, too."""
    command = [sys.executable, "-P", "-m", "pipelines.cli", "kfp", "task", STAGE, "--run-id", run_id, "--code", SAME]
    environment = {**os.environ, ray_job.JOBS_VARIABLE: ""}
    with (root / f"{run_id}.log").open("wb") as log:
        return subprocess.Popen([*own_pid_namespace(), *command], cwd=root, env=environment, stdout=log, stderr=log)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert process.poll() is None
        time.sleep(0.1)


@pytest.mark.integration
def test_it_finds_out_and_saves_nothing_and_the_next_has_a_larger_token(project: Path) -> None:
    (project / "dvc.yaml").write_text(LINE)
    begun = project / "begun"
    overtaken = pod(project, "r1")
    until(begun.exists, overtaken)
    (first,) = (int(path.name) for path in (project / lease.FOLDER).iterdir())
    assert lease.release(project / lease.FOLDER, "r1") == 1
    successor = pod(project, "r2")
    until(lambda: begun.read_text().count("begun") == 2, successor)
    assert overtaken.wait() != 0
    assert LOST in (project / "r1.log").read_text()
    assert not (project / FILE).exists()
    (second,) = (int(path.name) for path in (project / lease.FOLDER).iterdir())
    assert second > first
    (project / "go").touch()
    assert successor.wait() == 0, (project / "r2.log").read_text()
    assert (project / FILE).is_file()
