"""Every stage of the pipeline by the commands of its tasks: each in a folder, a process and a PID namespace of its own,
with a bare Git repository and an S3 server between them, those of one depth at once; `pytest -m bench`, minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dvc.repo import Repo

from components.contracts.atomic import read_json
from components.tracking.versions import registered_version, version_info
from pipelines import dag
from pipelines.code import code_sha256, running_code
from pipelines.loop import storage
from pipelines.loop.clone import FILE
from pipelines.loop.lock import stages_of
from pipelines.retraining.record import CAUSES_TAG
from tests.alignment.media import tone, wav
from tests.datasets.objects import BUCKET, Bucket, object_store
from tests.namespaces import own_pid_namespace
from tests.pipelines.loop.test_run import git
from tests.pipelines.projects import TINY, make_project

RUN = ("--run-id", "r1", "--code", code_sha256(running_code()))
# Notes its process id, which in a namespace of its own is 1, and becomes the task.
NOTED = ("sh", "-c", 'echo $$ >pid; exec "$@"', "task")
MER = (sys.executable, "-P", "-m", "pipelines.cli", "kfp")
EMOTIONS = ("anger", "happiness", "sadness")
PEOPLE = 5


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, *arguments: str) -> Task:
        folder.mkdir()
        with (folder / "said").open("wb") as said:
            command = [*own_pid_namespace(), *NOTED, *MER, *arguments]
            environment = {**os.environ, "HOME": str(folder)}
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        return cls(folder=folder, process=process)

    def end(self) -> None:
        """Waits for a task that does its work."""
        code = self.process.wait()
        said = (self.folder / "said").read_text()
        assert code == 0, f"{self.folder.name}\n{said}"
        assert (self.folder / "pid").read_text() == "1\n"

    def lose(self) -> None:
        """Kills it without a word, once it has begun to work in its clone."""
        while not list(self.folder.glob(f"mer-*/{FILE}")):
            assert self.process.poll() is None, (self.folder / "said").read_text()
            time.sleep(0.1)
        self.process.kill()  # its namespace goes with it
        self.process.wait()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with object_store(monkeypatch) as store:
        yield store


def a_corpus(folder: Path) -> Path:
    """Voices that are sorted by emotion."""
    for number in range(PEOPLE):
        for pitch, emotion in enumerate(EMOTIONS):
            path = folder / emotion / f"p{number}" / "one.wav"
            path.parent.mkdir(parents=True)
            wav(path, tone(0.6, 16_000, hz=300 + 30 * number + 200 * pitch))
    return folder


def a_repository(folder: Path, bucket: Bucket) -> Path:
    """A bare repository of a project with two datasets and a remote in the bucket."""
    bucket.put_tree(a_corpus(folder / "voices"), "voices")
    corpus = {"root": f"s3://{BUCKET}/voices", "licence": "CC0", "consent": "in writing"}
    project = make_project(folder / "project", {**TINY, "datasets": ["synthetic", "folder"], "folder": corpus})
    config = project / ".dvc" / "config"
    remote = f"['remote \"r\"']\n    url = s3://{BUCKET}/dvc\n    endpointurl = {os.environ['AWS_ENDPOINT_URL']}\n"
    config.write_text(config.read_text().replace("[core]", "[core]\n    remote = r", 1) + remote)
    git(project, "branch", "--move", "main")
    git(project, "commit", "--quiet", "--all", "--message", "A remote")
    git(folder, "clone", "--quiet", "--bare", str(project), "origin.git")
    return folder / "origin.git"


def levels(nodes: tuple[dag.Node, ...]) -> list[list[str]]:
    """Stages that may run at once, in running order."""
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.address] = 1 + max((depth[other] for other in node.upstream), default=-1)
    return [[name for name, at in depth.items() if at == level] for level in range(max(depth.values()) + 1)]


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_laptop_has_what_tasks_without_a_shared_folder_made(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_pid_namespace()  # skips before anything is made
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    origin = a_repository(tmp_path, bucket)
    nodes = dag.read(tmp_path / "project")
    repository = ("--repository", str(origin))

    edges = json.dumps({node.address: node.upstream for node in nodes})
    settings = json.dumps(["train.epochs=3"])
    out = tmp_path / "plan"
    check = ("check", "--edges", edges, "--settings", settings, "--branch", "main", "--out", str(out))
    Task.start(tmp_path / "check", *check, *RUN, *repository).end()
    plan = ("--plan", out.read_text())

    for names in levels(nodes):
        tasks = [Task.start(tmp_path / name, "task", name, *RUN, *plan, *repository) for name in names]
        if "features@folder" in names:  # its pod is lost; the next attempt begins anew, beside the other dataset's
            tasks.pop(names.index("features@folder")).lose()
            again = ("task", "features@folder", *RUN, *plan, *repository)
            tasks.append(Task.start(tmp_path / "features@folder, again", *again))
        for task in tasks:
            task.end()
    Task.start(tmp_path / "finish", "finish", "--run-id", "r1", *plan, *repository).end()
    assert f"pushed retrain/r1: {len(nodes)} of {len(nodes)} stages ran" in (tmp_path / "finish" / "said").read_text()

    refs = git(origin, "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/heads/retrain/r1"]
    assert set(stages_of(git(origin, "show", f"retrain/r1:{FILE}"))) == {node.address for node in nodes}
    message = git(origin, "log", "-1", "--format=%B", "retrain/r1")
    begun = git(origin, "rev-parse", "retrain/r1~1")
    assert git(origin, "log", "-1", "--format=%s", begun) == "Settings of r1: train.epochs=3"

    laptop = tmp_path / "laptop"
    git(tmp_path, "clone", "--quiet", "--branch", "retrain/r1", str(origin), str(laptop))
    storage.pull(laptop, [node.address for node in nodes])
    assert dag.changed(laptop) == {}
    assert git(laptop, "status", "--porcelain") == ""
    assert set(read_json(laptop / "data/catalog/catalog.json")["datasets"]) == {"folder", "synthetic"}
    registered = read_json(laptop / "data/registered/registered.json")
    number = registered_version(registered["model_name"], registered["bundle_sha256"], tracking_uri=tracking)
    version = version_info(registered["model_name"], str(number), tracking_uri=tracking)
    assert version is not None
    assert version.tags["lineage.git_commit"] == begun
    assert version.tags["lineage.git_dirty"] == "False"
    assert version.tags[CAUSES_TAG]
    with Repo(str(laptop)) as repo:
        (metrics,) = repo.metrics.show()[""]["data"].values()
    assert f"macro-F1 {metrics['data']['clip']['macro_f1']['value']:.3f}" in message
