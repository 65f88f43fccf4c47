from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.code import code_sha256, running_code
from pipelines.kubeflow import task
from tests.pipelines.projects import TINY

CODE = code_sha256(running_code())
EDGES = {"inputs": [], "datasets@a": ["inputs"]}


def test_equal_pipelines_pass() -> None:
    task.compare(EDGES, dict(EDGES))


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ({**EDGES, "datasets@b": ["inputs"]}, "lacks datasets@b"),
        ({"inputs": []}, "has datasets@a, which is gone"),
        ({**EDGES, "datasets@a": []}, "has datasets@a after other stages"),
    ],
)
def test_a_pipeline_that_is_out_of_date_names_what_and_the_remedy(project: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        task.compare(EDGES, project)
    assert "mer schedule apply" in str(raised.value.remedy)


def test_a_dataset_that_was_added_stops_the_run_and_settings_are_undone(project: Path) -> None:
    edges = json.dumps({node.address: node.upstream for node in dag.read(project)})
    assert "9 stages" in task.check(edges=edges, code=CODE, settings='["train.epochs=3"]')
    params = project / "params.yaml"
    assert yaml.safe_load(params.read_text())["train"]["epochs"] == 3
    before = params.read_text()
    with pytest.raises(ConfigError, match="lacks alignment@ravdess"):
        task.check(edges=edges, code=CODE, settings='["datasets=[synthetic, ravdess]", "ravdess.root=/r"]')
    assert params.read_text() == before
    params.write_text(yaml.safe_dump({**TINY, "datasets": ["synthetic", "ravdess"]}))
    with pytest.raises(ConfigError, match="lacks alignment@ravdess"):
        task.check(edges=edges, code=CODE, settings="[]")


def test_code_of_a_different_commit_runs_nothing(project_with_code: Path) -> None:
    with pytest.raises(ConfigError, match="the code is not that of the pipeline"):
        task.check(edges="{}", code="0" * 64, settings="[]")
    (project_with_code / "components" / "new.py").write_text("")
    with pytest.raises(ConfigError, match=r"components/new\.py"):
        task.run_stage("train", run_id="r", code=CODE)


def test_a_stage_outside_the_run_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert task.run_stage("train", run_id="r", code="", only="inputs datasets@a") == 0
    assert "not a part of this run" in capsys.readouterr().out
