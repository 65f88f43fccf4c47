"""The Makefile on a machine without Python 3.11, and in a project that moved."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("sh", "cat", "test", "rm", "echo", "awk")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `make env` depends on, and a path to tools without a Python and without uv."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-weights.lock"):
        shutil.copy(ROOT / name, root / name)
    (root / "bin").mkdir()
    for tool in TOOLS:
        (root / "bin" / tool).symlink_to(shutil.which(tool))  # type: ignore[arg-type]
    return root


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make"), *arguments]
    return subprocess.run(
        command,  # type: ignore[arg-type]
        cwd=root,
        env={"PATH": str(root / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", ["env", "run", "serve"])
def test_without_python_and_uv_it_says_what_to_install(project: Path, target: str) -> None:
    done = make(project, target)
    assert done.returncode == 2
    assert "mer needs Python 3.11: neither python3.11 nor uv" in done.stderr
    assert "make PYTHON=/path/to/python3.11" in done.stderr
    assert not (project / ".venv").exists()


def test_an_environment_that_moved_is_made_anew(project: Path) -> None:
    stamp = project / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.write_text(f"{stamp.parent.resolve()}\n")
    assert "Nothing to be done" in make(project, "env").stdout
    moved = project.with_name("moved here")
    project.rename(moved)
    assert make(moved, "--dry-run", "env").stdout.startswith("rm -rf .venv\n")
