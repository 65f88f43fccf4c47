"""A version of the tiny corpus trained again, whole; `pytest -m bench`, minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.tracking.versions import versions_of
from tests.pipelines.loop.test_run import git
from tests.pipelines.projects import make_project


def mer(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_version_is_trained_again_from_its_commit_and_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = make_project(tmp_path / "project")
    with (project / ".dvc" / "config").open("a") as config:
        config.write(f"['remote \"r\"']\n    url = {tmp_path / 'remote'}\n")
    git(project, "commit", "--quiet", "--all", "--message", "A remote")
    # A setting that is never committed, as `--set` leaves it.
    done = mer(project, "run", "--set", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    uri = f"sqlite:///{project / '.mer' / 'mlflow.db'}"
    (version,) = (entry for entry in versions_of(tracking_uri=uri) if entry.run_id)

    # The project goes on: other code, other settings, no data, nothing in the cache.
    subprocess.run([sys.executable, "-m", "dvc", "push", "--quiet", "--remote", "r"], cwd=project, check=True)
    git(project, "checkout", "--quiet", "params.yaml")
    (project / "components" / "model" / "statistics.py").write_text("raise NotImplementedError\n")
    git(project, "commit", "--quiet", "--all", "--message", "Different code")
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc" / "cache")
    (project / "dvc.lock").unlink()

    lost = mer(project, "reproduce", version.version)
    assert lost.returncode == 7, lost.stderr
    assert "dvc push" in lost.stderr
    git(project, "config", "--file", ".dvc/config", "core.remote", "r")
    again = mer(project, "reproduce", version.version)
    assert again.returncode == 0, again.stderr
    assert "The weights are bit-equal" in again.stdout
    assert list((project / ".mer" / "reproduce").iterdir()) == []
    assert git(project, "status", "--porcelain") == "M .dvc/config"
    assert len([entry for entry in versions_of(tracking_uri=uri) if entry.run_id]) == 1

    parts = mer(project, "reproduce", version.version, "--set", "runtime.parts=2")
    assert parts.returncode == 5, parts.stderr
    for words in ("The weights differ in", "runtime.parts", "macro-F1"):
        assert words in parts.stdout
