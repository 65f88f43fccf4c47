from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.contracts.config import Params
from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines.cli import call
from pipelines.commands.ablate import configured
from tests.datasets.feature_folders import separable, write_features
from tests.integration.corpora import mer_here
from tests.pipelines.projects import make_project


def test_options_of_a_call_go_before_the_file_and_bounds_hold() -> None:
    params = Params.model_validate({"ablate": {"seeds": 3, "folds": "corpus"}})
    result = configured(params, {"folds": 4, "workers": 1, "epochs": None, "variants": ["causal"]})
    assert (result.ablate.folds, result.ablate.seeds, result.ablate.workers) == (4, 3, 1)
    assert result.ablate.variants == ("causal",)
    assert result.ablate.epochs is None
    with pytest.raises(ConfigError, match="mer ablate: folds"):
        configured(params, {"folds": "people"})
    with pytest.raises(ConfigError, match="mer ablate: folds"):
        configured(params, {"folds": 2})


def test_a_name_that_leaves_the_folder_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["ablate", "--name", "../elsewhere"]) == 2
    assert "name" in capsys.readouterr().err


def mer(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a process of its own: the command starts and ends a Ray, and this process may be connected to one."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"RAY_ADDRESS", "MLFLOW_TRACKING_URI"}
    }
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)


# Given features need neither a picture nor a sound: what is tested here begins at the catalog.
PARAMS = {
    "datasets": ["feature_table"],
    "feature_table": {"root": "sets"},
    "validation": {"min_clips": 4, "min_clips_per_class": 1},
    "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
}


@pytest.mark.e2e
def test_the_command_brings_the_catalog_up_to_date_and_compares(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", PARAMS)
    table, arrays = separable(9, 3, steps=8)
    write_features(project / "sets", table, arrays, rates={"face_au": 25.0, "prosody": 25.0})
    command = ["ablate", "--variants", "no_temporal", "--seeds", "1", "--folds", "3", "--epochs", "1"]
    first = mer(project, *command, "--workers", "1", "--set", "evaluate.bootstrap=10")
    assert first.returncode == 0, first.stderr
    shown = first.stdout
    assert "| no_temporal |" in shown
    assert "not a claim" in shown
    assert ".mer/ablation/feature_table-3/report.html" in shown
    assert (project / ".mer" / "ablation" / "feature_table-3" / "report.html").is_file()
    assert (project / "data" / "catalog" / "catalog.json").is_file()
    assert not (project / "data" / "trained").exists()
    # Only --set is for the file; the other options are for this call.
    assert "ablate" not in yaml.safe_load((project / "params.yaml").read_text())
    again = mer_here(Layout(project), *command, "--workers", "0")
    assert again.returncode == 0, again.stderr
    assert "all 6 trainings were there" in again.stderr
