from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.contracts.errors import ConfigError
from components.datasets.registry import names
from pipelines.edit_params import apply

TEXT = """\
# what to learn from
datasets: [synthetic]   # one a corpus
seed: 7

train:
  epochs: 30  # enough
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT)
    return file


def test_a_value_changes_and_comments_stay(path: Path) -> None:
    lines = apply(path, ["train.epochs=5"], names())
    assert lines == ["train.epochs: 30 -> 5"]
    assert path.read_text() == TEXT.replace("30 ", "5  ")


def test_values_are_yaml(path: Path, tmp_path: Path) -> None:
    apply(path, ["datasets=[ravdess]", f"ravdess.root={tmp_path}", "model.causal=true"], names())
    written = yaml.safe_load(path.read_text())
    assert written["datasets"] == ["ravdess"]
    assert written["ravdess"] == {"root": str(tmp_path)}
    assert written["model"] == {"causal": True}


def test_an_equal_value_changes_nothing(path: Path) -> None:
    before = path.stat().st_mtime_ns
    assert apply(path, ["seed=7"], names()) == []
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("assignment", "word"),
    [
        ("train.epochz=5", "Did you mean 'epochs'?"),
        ("datasets=[synthetik]", "Did you mean 'synthetic'?"),
        ("train.epochs=-1", "greater than 0"),
        ("synthetic.subject=5", "Did you mean 'subjects'?"),
        ("train.epochs", "not an assignment"),
        ("=5", "not an assignment"),
        ("seed.x=5", "not a section"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_written(path: Path, assignment: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word.replace("?", r"\?")):
        apply(path, ["train.epochs=99", assignment], names())
    assert path.read_text() == TEXT
