from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.contracts.config import Params
from components.contracts.errors import ConfigError
from pipelines.ablate import configured
from pipelines.cli import call


def test_options_of_a_call_stand_over_the_file_and_bounds_hold() -> None:
    params = Params.model_validate({"ablate": {"seeds": 3, "folds": "corpus"}})
    found = configured(params, {"folds": 4, "workers": 1, "epochs": None, "variants": ["causal"]})
    assert (found.ablate.folds, found.ablate.seeds, found.ablate.workers) == (4, 3, 1)
    assert found.ablate.variants == ("causal",)
    assert found.ablate.epochs is None
    with pytest.raises(ConfigError, match="mer ablate: folds"):
        configured(params, {"folds": "people"})
    with pytest.raises(ConfigError, match="mer ablate: folds"):
        configured(params, {"folds": 2})


def test_a_name_that_leaves_the_folder_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["ablate", "--name", "../elsewhere"]) == 2
    assert "name" in capsys.readouterr().err


@pytest.mark.e2e
def test_the_command_brings_the_catalog_up_to_date_and_compares(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", "--variants", "no_temporal", "--seeds", "1", "--folds", "3", "--epochs", "1"]
    assert call([*command, "--workers", "2", "--set", "evaluate.bootstrap=10"]) == 0
    shown = capfd.readouterr().out
    assert "| no_temporal |" in shown
    assert "not a claim" in shown
    assert ".mer/ablation/synthetic-3/report.html" in shown
    assert (project / ".mer" / "ablation" / "synthetic-3" / "report.html").is_file()
    assert (project / "data" / "catalog" / "catalog.json").is_file()
    assert not (project / "data" / "trained").exists()
    # Only --set is for the file; the other options are for this call.
    assert "ablate" not in yaml.safe_load((project / "params.yaml").read_text())
    assert call([*command, "--workers", "0"]) == 0
    assert "all 6 trainings were there" in capfd.readouterr().err
