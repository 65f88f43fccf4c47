"""Refusals, and what is left after an interruption; `tests/datasets/test_add_a_dataset.py` runs what is scaffolded."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.contracts.errors import ConfigError, DataError
from pipelines.commands.datasets.add import CORPORA, LONGEST, PARAMS, REGISTRY, add, words
from tests.pipelines.projects import ROOT

FOLDERS = ("components/contracts", "components/datasets", "tests/datasets")
FILES = ("tests/alignment/media.py", "pyproject.toml")
LONG = "a" + "_b" * ((LONGEST - 1) // 2)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of a project that the command reads."""
    return a_project(tmp_path / "project")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for tests in which nothing may be written."""
    return a_project(tmp_path_factory.mktemp("untouched"))


def a_project(root: Path) -> Path:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "params.yaml").write_text("datasets: [synthetic]  # a comment\nseed: 7\n")
    return root


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["q9", "moodbox", "zebra_2", LONG])
def test_everything_is_there_in_the_projects_style_and_in_order(name: str, project: Path) -> None:
    written = add(name, title="Some corpus", licence="CC BY 4.0", root=project)
    assert len(written) == 5
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--no-cache", *map(str, written[:-1])]
        done = subprocess.run(ruff, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    registry = (project / REGISTRY).read_text()
    imports = [line for line in registry.splitlines() if line.startswith("from components.datasets.corpora.")]
    assert imports == sorted(imports)
    assert f'    "{name}": ' in registry
    assert f'    "{name}": {name},' in (project / CORPORA).read_text()
    text = (project / PARAMS).read_text()
    assert text.startswith("datasets: [synthetic]  # a comment\nseed: 7\n")
    assert yaml.safe_load(text) == {"datasets": ["synthetic"], "seed": 7, name: {"root": f"corpora/{name}"}}
    adapter = (project / f"components/datasets/corpora/{name}.py").read_text()
    assert 'licence = "CC BY 4.0"' in adapter
    assert "Some corpus" in (ast.get_docstring(ast.parse(adapter)) or "")
    assert "mer datasets check" in words(name, written)


def test_a_second_call_changes_nothing(project: Path) -> None:
    add("moodbox", root=project)
    before = contents(project)
    assert add("moodbox", title="Another title", root=project) == []
    assert contents(project) == before
    assert "nothing was changed" in words("moodbox", [])


def test_two_corpora_can_be_added(project: Path) -> None:
    add("moodbox", root=project)
    add("angerbox", root=project)
    for path in (REGISTRY, CORPORA):
        text = (project / path).read_text()
        assert text.index('    "angerbox"') < text.index('    "moodbox"')


@pytest.mark.parametrize("done", range(5))
def test_what_was_interrupted_is_completed_by_the_next_call(done: int, project: Path, tmp_path: Path) -> None:
    whole = a_project(tmp_path / "whole")
    for path in add("moodbox", root=whole)[:done]:
        shutil.copy(whole / path, project / path)
    assert len(add("moodbox", root=project)) == 5 - done
    assert contents(project) == contents(whole)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Moodbox", "mood-box", "mood box", "_mood", "mood_", "mood__box", "1mood", "../mood", "müd", "a" * 33),
        *("class", "match", "list", "ValueError"),  # Python's
        *("ravdess", "wesad_media"),  # modules that are there
        *("train", "datasets", "seed"),  # sections of params.yaml
        *("speech", "json", "path", "clip"),  # what the fixtures or the adapter call something else
    ],
)
def test_a_name_that_cannot_be_or_is_taken_is_refused_and_nothing_is_written(name: str, untouched: Path) -> None:
    before = contents(untouched)
    with pytest.raises(ConfigError):
        add(name, root=untouched)
    assert contents(untouched) == before


def test_a_test_of_that_name_is_not_overwritten(project: Path) -> None:
    (project / "tests/datasets/corpora/test_moodbox.py").write_text("# somebody's work\n")
    before = contents(project)
    with pytest.raises(ConfigError, match="this test exists already"):
        add("moodbox", root=project)
    assert contents(project) == before


def test_an_adapter_that_was_changed_is_not_touched(project: Path) -> None:
    add("moodbox", root=project)
    path = project / "components/datasets/corpora/moodbox.py"
    path.write_text(path.read_text().replace("return Scan", "return  Scan"))
    before = contents(project)
    with pytest.raises(ConfigError, match="this module exists already"):
        add("moodbox", root=project)
    assert contents(project) == before


@pytest.mark.parametrize("text", ['two "words"', "back\\slash", "two\nlines", "x" * 81, "   "])
def test_a_title_or_licence_that_is_no_line_is_refused(text: str, untouched: Path) -> None:
    with pytest.raises(ConfigError, match="--licence"):
        add("moodbox", licence=text, root=untouched)
    assert not (untouched / "components/datasets/corpora/moodbox.py").exists()


@pytest.mark.parametrize("path", [REGISTRY, CORPORA])
def test_a_table_that_is_not_there_stops_it_before_anything_is_written(path: Path, project: Path) -> None:
    (project / path).write_text("from components.datasets.corpora.ravdess import Ravdess\n")
    before = contents(project)
    with pytest.raises(DataError, match="there is no table"):
        add("moodbox", root=project)
    assert contents(project) == before
