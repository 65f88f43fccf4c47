from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import ConfigError
from pipelines.code import PACKAGES, check_code, code_sha256, running_code
from tests.pipelines.projects import ROOT


def code_in(folder: Path, **files: str) -> Path:
    for name, text in {"components": "1", "pipelines": "2", **files}.items():
        path = folder / name / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_running_code_is_this_project() -> None:
    assert running_code() == ROOT
    assert all((ROOT / package).is_dir() for package in PACKAGES)
    check_code(ROOT)


def test_equal_code_passes_and_caches_do_not_count(tmp_path: Path) -> None:
    image, workspace = code_in(tmp_path / "image"), code_in(tmp_path / "workspace")
    (image / "components" / "__pycache__").mkdir()
    (image / "components" / "__pycache__" / "a.pyc").write_text("x")
    (workspace / "data").mkdir()
    check_code(workspace, running=image)
    check_code(workspace, code_sha256(image), running=image)


@pytest.mark.parametrize("change", [{"pipelines": "3"}, {"components/new": "0"}])
def test_a_workspace_of_a_different_commit_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    image, workspace = code_in(tmp_path / "image"), code_in(tmp_path / "workspace", **change)
    with pytest.raises(ConfigError, match="Build the image") as raised:
        check_code(workspace, running=image)
    assert next(iter(change)) in str(raised.value)


def test_a_pipeline_of_a_different_commit_is_refused(tmp_path: Path) -> None:
    image = code_in(tmp_path / "image")
    with pytest.raises(ConfigError, match="mer schedule apply"):
        check_code(image, "0" * 64, running=image)


def test_a_project_without_code_of_its_own_passes(tmp_path: Path) -> None:
    check_code(tmp_path, running=code_in(tmp_path / "image"))
