from __future__ import annotations

import subprocess
from pathlib import Path

from components.contracts.fingerprint import file_sha256
from components.contracts.lineage import UNKNOWN, collect


def _git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_commit_and_a_change_after_it(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "params.yaml")
    _git(tmp_path, "commit", "-qm", "first")
    clean = collect(tmp_path, data_sha256="d", datasets={"tiny": "t"}, seed=1)
    assert clean.git_commit == _git(tmp_path, "rev-parse", "HEAD")
    assert not clean.git_dirty
    assert clean.params_sha256 == file_sha256(tmp_path / "params.yaml")
    assert clean.dvc_lock_sha256 == UNKNOWN
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    _git(tmp_path, "add", "dvc.lock")
    assert not collect(tmp_path, data_sha256="d", datasets={}, seed=1).git_dirty
    (tmp_path / "params.yaml").write_text("seed: 2\n")
    assert collect(tmp_path, data_sha256="d", datasets={}, seed=1).git_dirty
    assert clean.tags()["lineage.dataset.tiny"] == "t"


def test_outside_a_repository_nothing_is_invented(tmp_path: Path) -> None:
    assert collect(tmp_path, data_sha256="d", datasets={}, seed=1).git_commit == UNKNOWN
