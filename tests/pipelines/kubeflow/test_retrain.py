from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.kubeflow import retrain
from pipelines.run import Plan
from pipelines.stages import STAGES
from tests.pipelines.projects import TINY


@pytest.fixture
def compiled(project: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents of the pipeline and of the platform, for two datasets."""
    (project / "params.yaml").write_text(yaml.safe_dump({**TINY, "datasets": ["synthetic", "ravdess"]}))
    path = tmp_path / "mer.yaml"
    retrain.compile_to(path)
    pipeline, platform = yaml.safe_load_all(path.read_text())
    return pipeline, platform


def test_the_pipeline_has_the_stages_and_edges_of_dvc_yaml(compiled: tuple, project: Path) -> None:
    tasks = compiled[0]["root"]["dag"]["tasks"]
    nodes = dag.read(project)
    assert {name: sorted(task.get("dependentTasks", [])) for name, task in tasks.items()} == {
        retrain.task_name(node.address): sorted(retrain.task_name(name) for name in node.upstream) for node in nodes
    }
    assert {task["inputs"]["parameters"]["stage"]["runtimeValue"]["constant"] for task in tasks.values()} == {
        node.address for node in nodes
    }


def test_task_names_are_distinct(compiled: tuple) -> None:
    tasks = compiled[0]["root"]["dag"]["tasks"]
    assert "alignment-synthetic" in tasks
    assert "alignment-ravdess" in tasks
    assert len(tasks) == 4 * 2 + 5


def test_dvc_decides_what_is_up_to_date(compiled: tuple) -> None:
    """KFP's cache would skip a stage whose inputs are not passed through KFP."""
    for task in compiled[0]["root"]["dag"]["tasks"].values():
        assert not task["cachingOptions"].get("enableCache", False)


def test_every_task_retries_has_a_deadline_and_the_workspace(compiled: tuple, project: Path) -> None:
    settings = retrain.load_settings(project)
    pipeline, platform = compiled
    for task in pipeline["root"]["dag"]["tasks"].values():
        assert task["retryPolicy"]["maxRetryCount"] == settings.retries
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(pipeline["deploymentSpec"]["executors"])
    for executor in executors.values():
        assert int(executor["activeDeadlineSeconds"]) > 0
        assert executor["pvcMount"][0]["mountPath"] == settings.workspace
        assert executor["podMetadata"]["labels"] == {"app.kubernetes.io/part-of": "mer"}


def test_heavy_stages_go_to_the_ray_cluster(compiled: tuple, project: Path) -> None:
    settings = retrain.load_settings(project)
    for name, executor in compiled[0]["deploymentSpec"]["executors"].items():
        variables = {entry["name"]: entry["value"] for entry in executor["container"]["env"]}
        heavy = name.removeprefix("exec-").split("-")[0] in {"alignment", "features", "train"}
        assert variables.get("MER_RAY_JOBS_ADDRESS") == (settings.ray_jobs_address if heavy else None)


def test_wrong_settings_are_a_clear_error(project: Path) -> None:
    path = project / retrain.SETTINGS
    path.write_text(path.read_text() + "retry: 3\n")
    with pytest.raises(ConfigError, match="retry"):
        retrain.load_settings(project)
    path.unlink()
    with pytest.raises(ConfigError, match=r"kubeflow\.yaml"):
        retrain.load_settings(project)


def test_the_stages_on_ray_are_those_that_mer_run_starts_ray_for() -> None:
    for name, stage in STAGES.items():
        assert Plan(scope=(name,), pending=(name,), reasons={}).needs_ray == stage.needs_ray
    assert {name for name, stage in STAGES.items() if stage.needs_ray} == {"alignment", "features", "train"}


def test_the_file_must_be_yaml(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.yaml"):
        retrain.compile_to(tmp_path / "mer.txt")


@pytest.mark.parametrize(
    ("address", "name"),
    [("train", "train"), ("alignment@my_set", "alignment-my-set"), ("features@MELD", "features-meld")],
)
def test_task_names_are_kubernetes_names(address: str, name: str) -> None:
    assert retrain.task_name(address) == name
