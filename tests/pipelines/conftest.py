from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.projects import make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of a tiny project, without its code, as the current folder."""
    root = make_project(tmp_path / "project", code=False)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def project_with_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny project with its code, for what hashes or runs it, as the current folder."""
    root = make_project(tmp_path / "project")
    monkeypatch.chdir(root)
    return root
