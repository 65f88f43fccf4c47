from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.projects import make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny project as the current folder."""
    root = make_project(tmp_path / "project")
    monkeypatch.chdir(root)
    return root
