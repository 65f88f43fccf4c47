"""Every stage of the pipeline in a clone and a process of its own, on the tiny corpus; `pytest -m bench`, minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import dag
from pipelines.code import code_sha256, running_code
from pipelines.kubeflow.task import asked
from pipelines.loop import run as loop
from pipelines.loop import storage
from tests.pipelines.loop.test_run import git
from tests.pipelines.projects import make_project

TASK = """
import sys
from pathlib import Path
from pipelines.loop.run import run_stage
origin, folder, commit, stage, code = sys.argv[1:]
sys.exit(run_stage(origin, Path(folder), commit=commit, run_id="r1", stage=stage, code=code))
"""


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_laptop_has_what_tasks_without_a_shared_folder_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    project = make_project(tmp_path / "project")
    config = project / ".dvc" / "config"
    remote = f"['remote \"r\"']\n    url = {tmp_path / 'remote'}\n"
    config.write_text(config.read_text().replace("[core]", "[core]\n    remote = r") + remote)
    git(project, "branch", "--move", "main")
    git(project, "commit", "--quiet", "--all", "--message", "A remote")
    git(tmp_path, "clone", "--quiet", "--bare", str(project), "origin.git")
    origin = str(tmp_path / "origin.git")

    begun = loop.begin(origin, "main", tmp_path / "begin", run_id="r1")
    commit, code = begun.git("rev-parse", "HEAD").strip(), code_sha256(running_code())
    stages = [node.address for node in dag.read(begun.folder)]
    for stage in stages:
        folder = tmp_path / stage.replace("@", "-")  # DVC takes an @ in a path for the item of a stage
        command = [sys.executable, "-c", TASK, origin, str(folder), commit, stage, code]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{stage}\n{done.stdout}\n{done.stderr}"
    end = loop.finish(origin, tmp_path / "end", commit=commit, run_id="r1", decision=asked("ada"))
    assert end == f"pushed retrain/r1: {len(stages)} of {len(stages)} stages ran"

    laptop = tmp_path / "laptop"
    git(tmp_path, "clone", "--quiet", "--branch", "retrain/r1", origin, str(laptop))
    storage.pull(laptop, stages)
    assert dag.changed(laptop) == {}
    assert git(laptop, "status", "--porcelain") == ""
