from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.contracts.errors import ModelError
from components.contracts.layout import Layout
from components.tuning.journal import Journal, Outcome
from components.tuning.space import Space
from pipelines.commands import tune
from pipelines.project import load
from tests.pipelines.projects import TINY

CATALOG: dict[str, Any] = {
    "sha256": "c",
    "classes": [],
    "encoders": {},
    "splits": {"calibration": {"clips": 4, "subjects": 2}},
}
RANGES = {"ranges": {"train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}, "model.width": [16, 32]}}
PRESENT = {"model.width": 16, "train.learning_rate": 0.002}


def concluded(root: Path, *outcomes: Outcome, apply: bool = False) -> None:
    layout = Layout(root)
    space = Space.of(load(root))
    journal = Journal.of(space, layout, CATALOG)
    journal.outcomes = {outcome.name: outcome for outcome in outcomes}
    tune._conclude(space, journal, layout, CATALOG, apply=apply)


def outcome(values: dict[str, Any], *scores: float, error: str | None = None) -> Outcome:
    return Outcome(values=values, scores=scores, ended=True, error=error)


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A folder with the configuration alone, which is all that the end of a search reads."""
    (tmp_path / "params.yaml").write_text("# Mine.\n" + yaml.safe_dump({**TINY, "tune": RANGES}, sort_keys=False))
    return tmp_path


def test_the_best_is_a_patch_until_it_is_asked_for(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (searched / "params.yaml").read_text()
    trials = (
        outcome(PRESENT, 0.1, 0.25),
        outcome({"model.width": 32, "train.learning_rate": 1e-5}, 0.3, 0.5),
        outcome({"model.width": 32, "train.learning_rate": 1e-2}, 0.9),
        outcome({"model.width": 16, "train.learning_rate": 1e-2}, error="diverged"),
    )
    concluded(searched, *trials)
    shown = capsys.readouterr().out
    for words in ("(present)", "4 clips of 2 people", "No clip of the test split", "failed: diverged", "+  width: 32"):
        assert words in shown
    assert "+  learning_rate: 1" in shown
    assert (searched / "params.yaml").read_text() == before
    (patch,) = (searched / ".mer" / "tune").glob(f"*/{tune.PATCH}")
    assert patch.read_text() in shown

    concluded(searched, *trials, apply=True)
    params = load(searched)
    assert (params.model.width, params.train.learning_rate, params.train.epochs) == (32, 1e-5, 2)
    assert (searched / "params.yaml").read_text().startswith("# Mine.")
    capsys.readouterr()
    concluded(searched, *trials, apply=True)
    assert "The present settings are the best of these" in capsys.readouterr().out


def test_trials_that_were_all_stopped_choose_nothing(searched: Path) -> None:
    with pytest.raises(ModelError, match="no trial trained all of its epochs"):
        concluded(searched, outcome(PRESENT, 0.9))
