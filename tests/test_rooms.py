"""Every package says in its `__init__.py` what is in it: whoever opens a folder finds each file named there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [
    path.parent for top in ("components", "pipelines", "bench", "mer") for path in (ROOT / top).rglob("__init__.py")
]
# Their files are named for sections, corpora or components, which the text names as such.
AS_WORDS = {"components", "components/contracts/config", "components/datasets/corpora"}


def unnamed(package: Path) -> list[str]:
    """The modules and packages directly in a package that its `__init__.py` does not name."""
    text = (package / "__init__.py").read_text(encoding="utf-8")
    files = {path.stem: r"\.py\b" for path in package.glob("*.py") if not path.stem.startswith("__")}
    folders = {path.parent.name: "/" for path in package.glob("*/__init__.py")}
    as_words = package.relative_to(ROOT).as_posix() in AS_WORDS
    named = {
        name: rf"(?<!\w){name}\b" if as_words else rf"(?<![\w./]){name}{ending}"
        for name, ending in (files | folders).items()
    }
    return sorted(name for name, pattern in named.items() if not re.search(pattern, text))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_names_everything_in_it(package: Path) -> None:
    assert unnamed(package) == []


def test_a_file_that_is_not_named_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_rooms.ROOT", tmp_path)
    package = tmp_path / "components" / "kitchen"
    for name in ("oven", "sink", "pantry/__init__"):
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (package / "__init__.py").write_text('"""oven.py bakes; its name does not name sinks/sink.py."""')
    assert unnamed(package) == ["pantry", "sink"]
