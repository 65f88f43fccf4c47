from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import ConfigError
from pipelines.project import find_root, load


def test_the_root_is_found_from_below(project: Path) -> None:
    below = project / "infra" / "base"
    assert find_root(below) == project


def test_elsewhere_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither this folder nor one above it is a mer project"):
        find_root(tmp_path)


def test_the_configuration_is_typed(project: Path) -> None:
    params = load(project)
    assert params.runtime.workers == 0
    assert params.sources["synthetic"]["subjects"] == 5
