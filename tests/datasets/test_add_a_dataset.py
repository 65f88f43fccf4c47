"""Follows "Add a dataset" in docs/datasets.md to the letter, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json
from components.contracts.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COPIED = (
    "components",
    "pipelines",
    "params.yaml",
    "dvc.yaml",
    "pyproject.toml",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/builders.py",
    "tests/datasets/__init__.py",
    "tests/datasets/conftest.py",
)


def blocks() -> dict[str, str]:
    """The titled code blocks of the walkthrough."""
    text = (ROOT / "docs" / "datasets.md").read_text()
    return dict(BLOCK.findall(text[text.index("## Add a dataset") :]))


def copy_project(to: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def add_to_registry(path: Path, lines: str) -> None:
    """The import goes beside the other imports, the entry into ADAPTERS."""
    statement, entry = lines.rstrip("\n").split("\n")
    text = path.read_text()
    first_import = re.search(r"^from components\.datasets\.", text, re.MULTILINE)
    opening = re.search(r"^ADAPTERS.*\{\n", text, re.MULTILINE)
    assert first_import is not None
    assert opening is not None
    text = text[: opening.end()] + entry + "\n" + text[opening.end() :]
    text = text[: first_import.start()] + statement + "\n" + text[first_import.start() :]
    path.write_text(text)


def add_to_params(path: Path, lines: str) -> None:
    """The `datasets:` line takes the place of the one there is; the section is added."""
    datasets, section = lines.split("\n", 1)
    text, replaced = re.subn(r"^datasets:.*$", datasets, path.read_text(), count=1, flags=re.MULTILINE)
    assert replaced == 1
    path.write_text(text + "\n" + section)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which a stranger has followed the walkthrough up to the commands."""
    root = tmp_path_factory.mktemp("project")
    copy_project(root)
    for title, content in blocks().items():
        path = root / title
        if title.endswith("registry.py"):
            add_to_registry(path, content)
        elif title == "params.yaml":
            add_to_params(path, content)
        elif title.endswith(".py"):
            assert not path.exists()
            path.write_text(content)
    return root


def run(command: str, project: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def commands() -> list[str]:
    return [line for line in blocks()["check"].splitlines() if line]


def test_the_walkthrough_has_every_step() -> None:
    assert list(blocks()) == [
        "components/datasets/moodbox.py",
        "components/datasets/registry.py",
        "params.yaml",
        "tests/datasets/test_moodbox.py",
        "check",
    ]


def test_the_new_files_keep_the_projects_style(project: Path) -> None:
    files = "components/datasets/moodbox.py components/datasets/registry.py tests/datasets/test_moodbox.py"
    done = run(f"ruff check --ignore I001 {files} && ruff format --check {files}", project)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
def test_followed_to_the_letter_it_adds_the_dataset(project: Path) -> None:
    for command in commands():
        done = run(command, project)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    layout = Layout(project)
    summary = read_json(layout.dataset("moodbox") / "summary.json")
    assert summary["clips"] == 3
    assert summary["emotions"] == {"anger": 1, "happiness": 1, "sadness": 1}
    assert summary["quarantine_codes"] == {"label-without-clip": 1}
    assert not layout.dataset("synthetic").exists()
    shards = sorted(layout.aligned("moodbox").glob("shard-*.parquet"))
    aligned = [clip_id for shard in shards for clip_id in pq.read_table(shard)["clip_id"].to_pylist()]
    assert sorted(aligned) == ["moodbox/a1", "moodbox/a2", "moodbox/b1"]
