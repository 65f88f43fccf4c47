"""Follows "Add a dataset" in docs/datasets.md to the letter, in a copy of the project."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.walkthrough import ROOT, blocks, copy_project, passes

FLAGS = re.MULTILINE | re.DOTALL
COPIED = (
    "components",
    "pipelines",
    "params.yaml",
    "dvc.yaml",
    "pyproject.toml",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/tiers.py",
    "tests/builders.py",
    "tests/alignment/__init__.py",
    "tests/alignment/media.py",
    "tests/datasets",
)


def titled() -> dict[str, str]:
    """The titled code blocks of the walkthrough."""
    return {block.title: block.content for block in blocks("datasets.md", "Add a dataset")}


FILES = (
    "components/datasets/corpora/moodbox.py components/datasets/registry.py "
    "tests/datasets/corpora/test_moodbox.py tests/datasets/tiny_corpora.py"
)


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `mer datasets add` was called."""
    root = tmp_path_factory.mktemp("project")
    cache = (".mypy_cache",) if (ROOT / ".mypy_cache").is_dir() else ()
    copy_project(root, (*COPIED, *cache))
    for command in titled()["add"].splitlines():
        passes(command, root)
    return root


@pytest.fixture(scope="module")
def changed(scaffolded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that in which a stranger has followed the walkthrough up to the checks."""
    root = tmp_path_factory.mktemp("changed") / "project"
    shutil.copytree(scaffolded, root, ignore=shutil.ignore_patterns(".*_cache"))
    for title, content in titled().items():
        path = root / title
        if title.endswith("corpora.py"):
            function = re.search(r"^def moodbox\(.*?\n\n\n", path.read_text(), FLAGS)
            assert function is not None
            path.write_text(path.read_text().replace(function.group(), f"{content}\n\n"))
        elif title.endswith(".py"):
            assert path.exists()
            path.write_text(content)
    return root


def test_the_walkthrough_has_every_step() -> None:
    assert list(titled()) == [
        "add",
        "components/datasets/corpora/moodbox.py",
        "tests/datasets/tiny_corpora.py",
        "tests/datasets/corpora/test_moodbox.py",
        "check",
    ]


@pytest.mark.integration
def test_what_is_scaffolded_passes_lint_types_and_the_contract_as_it_stands(scaffolded: Path) -> None:
    passes(f"ruff check {FILES} && ruff format --check {FILES}", scaffolded)
    passes("mypy components/datasets/corpora/moodbox.py components/datasets/registry.py", scaffolded)
    tests = "tests/datasets/corpora/test_moodbox.py tests/datasets/test_contract.py tests/datasets/test_about.py"
    shown = passes(f"pytest -q {tests} -k 'moodbox or fixture'", scaffolded)
    assert int(re.findall(r"(\d+) passed", shown)[0]) >= 10


@pytest.mark.integration
def test_followed_to_the_letter_it_adds_the_dataset(changed: Path) -> None:
    passes(f"ruff check {FILES} && ruff format --check {FILES}", changed)
    shown = [passes(command, changed) for command in titled()["check"].splitlines()]
    assert "lfs-pointer" in shown[2]
    assert "people     2" in shown[2]
    page = (changed / "moodbox.html").read_text()
    assert page.count("<article>") == 3
    assert "data:image/jpeg" in page
    assert not (changed / "data").exists()
