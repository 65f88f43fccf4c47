"""A run whose tasks share no folder: a bare repository, a DVC remote, each task a process in a clone of its own."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import dag
from pipelines.code import SAME
from pipelines.kubeflow.report import report
from pipelines.kubeflow.task import asked
from pipelines.loop import run as loop
from pipelines.loop import storage
from pipelines.loop.clone import Clone

pytestmark = pytest.mark.integration

STAGES = """
stages:
  datasets:
    foreach: [a, b]
    do:
      cmd: mkdir -p data/datasets/${item} && cat words.txt >> data/datasets/${item}/log
      deps: [words.txt]
      outs:
        - data/datasets/${item}: {persist: true}
  catalog:
    cmd: mkdir -p data/catalog && cat data/datasets/*/log > data/catalog/all
    deps: [data/datasets]
    outs: [data/catalog]
"""
ORDER = (["datasets@a", "datasets@b"], ["catalog"])
# What a child of this process needs of DVC is imported here once, by the fixture.
FORKED = multiprocessing.get_context("fork")
PLAN = asked("ada")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class Team:
    """A bare repository and a folder for clones."""

    origin: Path
    place: Path

    def run(self, run_id: str, *settings: str) -> str:
        """A whole run; returns what its last task says."""
        begun = loop.begin(str(self.origin), "main", self.place / run_id, run_id=run_id, assignments=settings)
        commit = begun.git("rev-parse", "HEAD").strip()
        for stages in ORDER:
            tasks = [FORKED.Process(target=self.task, args=(run_id, commit, stage)) for stage in stages]
            for task in tasks:
                task.start()
            for task in tasks:
                task.join(60)
                assert task.exitcode == 0
        return loop.finish(str(self.origin), self.place / f"{run_id}-end", commit=commit, run_id=run_id, decision=PLAN)

    def task(self, run_id: str, commit: str, stage: str, *, suffix: str = "") -> None:
        """A stage's task; ends the process with its exit code."""
        folder = self.place / f"{run_id}-{stage}{suffix}"
        sys.exit(loop.run_stage(str(self.origin), folder, commit=commit, run_id=run_id, stage=stage, code=SAME))

    def laptop(self, branch: str) -> Path:
        """Somebody's clone of a branch after `dvc pull`."""
        folder = self.place / f"laptop-{branch.replace('/', '-')}"
        git(self.place, "clone", "--quiet", "--branch", branch, str(self.origin), str(folder))
        storage.pull(folder, [node.address for node in dag.read(folder)])
        return folder


@pytest.fixture
def team(tmp_path: Path) -> Team:
    project = tmp_path / "project"
    (project / ".dvc").mkdir(parents=True)
    (project / ".dvc" / "config").write_text(
        f"[core]\n    remote = r\n['remote \"r\"']\n    url = {tmp_path / 'remote'}\n"
    )
    (project / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (project / ".gitignore").write_text("/data/\n/.mer/\n")
    (project / "dvc.yaml").write_text(STAGES)
    (project / "params.yaml").write_text("seed: 7\n")
    (project / "words.txt").write_text("one\n")
    git(project, "init", "--quiet", "--template=", "--initial-branch=main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "A project")
    assert len(dag.read(project)) == 3
    git(tmp_path, "clone", "--quiet", "--bare", str(project), "origin.git")
    return Team(origin=tmp_path / "origin.git", place=tmp_path)


def test_git_and_dvc_are_the_loop(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    assert team.run("r1", "seed=8") == "pushed retrain/r1: 3 of 3 stages ran"
    refs = git(team.origin, "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/heads/retrain/r1"]  # what the tasks left for each other is gone
    log = git(team.origin, "log", "--format=%B", "main..retrain/r1")
    assert "retrain: asked" in log
    assert "asked: by ada" in log
    assert "Settings of r1: seed=8" in log
    laptop = team.laptop("retrain/r1")
    assert (laptop / "data/catalog/all").read_text() == "one\none\n"
    assert (laptop / "params.yaml").read_text() == "seed: 8\n"
    assert dag.changed(laptop) == {}
    assert git(laptop, "status", "--porcelain") == ""
    with pytest.raises(SystemExit, match="0"):  # the run is over: an attempt that comes late finds nothing to do
        team.task("r1", git(team.origin, "rev-parse", "retrain/r1"), "datasets@a", suffix="-late")
    assert "up to date" in capsys.readouterr().out


def test_parts_of_a_run_that_did_not_end_are_deleted(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--template=", "--bare", "origin.git")
    origin = tmp_path / "origin.git"
    work = tmp_path / "work"
    work.mkdir()
    git(work, "clone", "--quiet", str(origin), ".")
    for run_id in ("r1", "r2"):
        Clone(folder=work, run_id=run_id).leave("train", "part")
    said = report(run_id="r1", state="FAILED", repository=str(origin))
    assert said == "r1: FAILED\n1 parts of a run that did not end were deleted in the repository"
    assert git(origin, "for-each-ref", "--format=%(refname)") == "refs/mer/r2/train"
    other = Clone(folder=work, run_id="r2")
    other.fetch()
    assert other.parts() == {"train": "part"}


def test_a_task_says_what_git_said(tmp_path: Path) -> None:
    from components.contracts.errors import UnavailableError

    with pytest.raises(UnavailableError, match="nowhere"):
        Clone.make(str(tmp_path / "nowhere"), tmp_path / "clone", run_id="r", commit="HEAD")
