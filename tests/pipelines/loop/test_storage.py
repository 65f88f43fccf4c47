from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipelines.loop.storage import use_storage_of
from tests.pipelines.projects import make_project

pytestmark = pytest.mark.integration


def test_a_clone_has_what_the_cache_of_the_project_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a remote, and though the cache is a setting that no commit has; in a folder with letters that DVC does
    not write into its settings."""
    project = make_project(tmp_path / "die Größe @ 2 'neu'", code=False)
    monkeypatch.chdir(project)
    with Repo(str(project)) as repo:
        (project / "data.txt").write_text("made here")
        repo.add(["data.txt"])
    clone = tmp_path / "clone"
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns("cache", "tmp", "data.txt"))
    use_storage_of(project, clone)
    with Repo(str(clone)) as repo:
        repo.checkout(targets=[str(clone / "data.txt.dvc")])
    assert (clone / "data.txt").read_text() == "made here"
