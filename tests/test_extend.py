"""Follows docs/extend.md to the letter: all of its sections in one copy of the project, then their checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.walkthrough import ROOT, Block, blocks, copy_project, passes, write

SECTIONS = ("An encoder", "A gate", "A loss", "A field of the answer", "A stage", "An expectation")
COPIED = (
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "bench",
    "components",
    "dvc.yaml",
    "infra",
    "mer",
    "params.yaml",
    "pipelines",
    "pyproject.toml",
    "tests",
)


def of(section: str) -> list[Block]:
    return blocks("extend.md", section)


def checks(section: str) -> list[str]:
    (check,) = (block for block in of(section) if block.title == "check")
    return check.content.splitlines()


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which a stranger has written what the sections say, in their order."""
    root = tmp_path_factory.mktemp("extended") / "project"
    cache = (".mypy_cache",) if (ROOT / ".mypy_cache").is_dir() else ()
    copy_project(root, (*COPIED, *cache))
    passes("git init --quiet", root)
    for section in SECTIONS:
        for block in of(section):
            if block.path is not None:
                write(block, root)
    return root


def test_every_section_is_followed() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "extend.md").read_text(), re.MULTILINE)
    assert headings == ["A dataset", *SECTIONS]
    assert all(checks(section) for section in SECTIONS)


@pytest.mark.integration
def test_what_was_written_passes_lint_types_and_layers(extended: Path) -> None:
    written = sorted({block.path for section in SECTIONS for block in of(section) if str(block.path).endswith(".py")})
    files = " ".join(written)
    passes(f"ruff check {files} && ruff format --check {files}", extended)
    passes(f"mypy {' '.join(name for name in written if not name.startswith('tests/'))}", extended)
    passes("lint-imports", extended)


@pytest.mark.integration
@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "A stage"])
def test_the_checks_of_a_section_pass(section: str, extended: Path) -> None:
    for command in checks(section):
        passes(command, extended)


@pytest.mark.integration
def test_a_new_gate_is_a_tag_and_a_line_of_the_card_by_itself(extended: Path) -> None:
    shown = passes(
        "python -c '"
        "from components.registry.model_card import _gates; from components.registry.evidence import gate_tags; "
        "from components.contracts.config import Gates; from components.evaluation.gates import Evidence, judge; "
        "from components.evaluation.intervals import Interval; "
        "even = Interval(value=1.0, low=1.0, high=1.0); "
        'evidence = Evidence(level="clip", macro_f1=even, majority_f1=0.0, ece=even, shortfalls={}, figures={}); '
        "gates = [gate.to_json() for gate in judge(Gates(), evidence)]; "
        'print(gate_tags(gates)["gates.group_gap"], _gates(gates))\'',
        extended,
    )
    assert shown.startswith("passed: no groups to compare")
    assert "| group gap | passed | no groups to compare |" in shown


@pytest.mark.integration
def test_a_loss_that_is_on_by_default_never_enters_the_papers_preset(extended: Path) -> None:
    train = extended / "components/contracts/config/train.py"
    text = train.read_text()
    train.write_text(text.replace("smoothness_loss: float = Field(0.0", "smoothness_loss: float = Field(0.15"))
    weight = "parse_params({{'model': {{'preset': '{}'}}}}, ['synthetic']).train.smoothness_loss"
    weights = ", ".join(weight.format(preset) for preset in ("default", "paper"))
    try:
        shown = passes(f'python -c "from components.contracts.config import parse_params; print({weights})"', extended)
    finally:
        train.write_text(text)
    assert shown.split() == ["0.15", "0.0"]


@pytest.mark.integration
def test_a_new_stage_is_a_command_and_a_task_by_itself(extended: Path) -> None:
    _, usage, stages, _ = (passes(command, extended) for command in checks("A stage"))
    assert "write the headline figures of the evaluation as a page of text" in usage
    assert "\ndigest " in stages
    pipeline, _ = yaml.safe_load_all((extended / "mer.yaml").read_text())
    graphs = (part["dag"]["tasks"] for part in pipeline["components"].values() if "dag" in part)
    stages_of = next(tasks for tasks in graphs if "evaluate" in tasks)
    assert stages_of["digest"]["dependentTasks"] == ["evaluate", "inputs"]
