"""A version trained again from end to end; `pytest -m bench`, minutes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.tracking.versions import versions_of
from pipelines.repro import environment
from tests.datasets.feature_folders import separable, write_features
from tests.pipelines.loop.test_run import git
from tests.pipelines.projects import ROOT, make_project

PARAMS: dict[str, Any] = {
    "datasets": ["feature_table"],
    "feature_table": {"root": "sets"},
    "validation": {"min_clips": 4, "min_clips_per_class": 1},
    "train": {"epochs": 2},
    "runtime": {"workers": 0},
    "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
    "evaluate": {"bootstrap": 20, "timelines": 1},
    "registry": {"starter": False},
}


def called(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A module run by the code of the project."""
    command = [sys.executable, "-m", *arguments]
    variables = {**environment(), "PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)


def ctrl_c_while_training(project: Path, version: str) -> str:
    """What `mer reproduce` says when the key is pressed after its stage has begun."""
    command = [sys.executable, "-P", "-m", "pipelines.cli", "reproduce", version]
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    said = []
    with subprocess.Popen(
        command, cwd=project, env=variables, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            said.append(line)
            if line.startswith("train:"):
                time.sleep(1)
                os.killpg(child.pid, signal.SIGINT)
    assert child.returncode == 130, said
    return "".join(said)


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_version_is_trained_again_from_its_commit_and_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On given features, so that nothing here needs Ray."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = make_project(tmp_path / "project", PARAMS)
    table, arrays = separable(12, 3, steps=8)
    write_features(project / "sets", table, arrays, rates={"face_au": 25.0, "prosody": 25.0})
    with (project / ".dvc" / "config").open("a") as config:
        config.write(f"['remote \"r\"']\n    url = {tmp_path / 'remote'}\n")
    git(project, "commit", "--quiet", "--all", "--message", "A remote")
    # A setting that is never committed, as `mer run --set` leaves it.
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 2", "epochs: 3"))
    done = called(project, "pipelines.dvc_quietly", "repro")
    assert done.returncode == 0, done.stderr
    uri = f"sqlite:///{project / '.mer' / 'mlflow.db'}"
    (version,) = versions_of(tracking_uri=uri)

    # The project goes on: other code, other settings, no data, nothing in the cache.
    assert called(project, "dvc", "push", "--quiet", "--remote", "r").returncode == 0
    git(project, "checkout", "--quiet", "params.yaml")
    (project / "components" / "model" / "statistics.py").write_text("raise NotImplementedError\n")
    git(project, "commit", "--quiet", "--all", "--message", "Different code")
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc" / "cache")
    (project / "dvc.lock").unlink()

    def reproduced(*options: str) -> subprocess.CompletedProcess[str]:
        """By the code of this checkout, as an installed `mer` is not that of the commit either."""
        command = [sys.executable, "-P", "-m", "pipelines.cli", "reproduce", version.version, *options]
        variables = {**environment(), "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)

    lost = reproduced()
    assert lost.returncode == 7, lost.stderr
    assert "dvc push" in lost.stderr
    assert called(project, "dvc", "remote", "default", "--quiet", "r").returncode == 0
    interrupted = ctrl_c_while_training(project, version.version)
    (checkout,) = (project / ".mer" / "reproduce").iterdir()
    assert f"The checkout is in {checkout}: `mer reproduce {version.version}` goes on from there" in interrupted
    assert "Interrupted. Finished work is kept." in interrupted
    assert git(project, "status", "--porcelain", "--untracked-files=no") == "M .dvc/config"
    again = reproduced()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The weights are bit-equal" in again.stdout
    assert list((project / ".mer" / "reproduce").iterdir()) == []
    assert git(project, "status", "--porcelain", "--untracked-files=no") == "M .dvc/config"
    assert len(versions_of(tracking_uri=uri)) == 1

    parts = reproduced("--set", "runtime.parts=2")
    assert parts.returncode == 5, parts.stdout + parts.stderr
    for words in ("The weights differ in", "runtime.parts", "macro-F1"):
        assert words in parts.stdout
