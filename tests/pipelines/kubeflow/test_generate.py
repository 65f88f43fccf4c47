from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import compiler
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.kubeflow import generate, task
from pipelines.kubeflow.settings import SETTINGS, GitSettings, load_settings
from pipelines.run import Plan
from pipelines.stages import STAGES
from tests.pipelines.projects import TINY, in_thread, make_project


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A project with two datasets, and the documents of its pipeline: KFP's own and that of Kubernetes."""

    root: Path
    pipeline: dict[str, Any]
    platform: dict[str, Any]

    @property
    def tasks(self) -> dict[str, Any]:
        """All tasks that are pods, in whatever part of the pipeline."""
        parts = [self.pipeline["root"], *self.pipeline["components"].values()]
        tasks = {name: task for part in parts for name, task in part.get("dag", {}).get("tasks", {}).items()}
        return {name: task for name, task in tasks.items() if not name.startswith(("exit-handler-", "condition-"))}

    def part(self, name: str) -> dict[str, Any]:
        """The tasks of a part."""
        return self.pipeline["components"][f"comp-{name}"]["dag"]["tasks"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compiled once, since it takes DVC and the compiler seconds; the tests only read it."""
    folder = tmp_path_factory.mktemp("compiled")
    root = make_project(folder / "project", {**TINY, "datasets": ["synthetic", "ravdess"]})
    in_thread(lambda: generate.compile_to(folder / "mer.yaml", root))
    pipeline, platform = yaml.safe_load_all((folder / "mer.yaml").read_text())
    return Compiled(root=root, pipeline=pipeline, platform=platform)


def test_the_pipeline_has_the_stages_and_edges_of_dvc_yaml(compiled: Compiled) -> None:
    tasks = compiled.tasks
    nodes = dag.read(compiled.root)
    stages = {name: entry for name, entry in tasks.items() if name not in generate.OWN_TASKS}
    assert {name: sorted(entry.get("dependentTasks", ())) for name, entry in stages.items()} == {
        generate.task_name(node.address): sorted(generate.task_name(name) for name in node.upstream) for node in nodes
    }
    assert {entry["inputs"]["parameters"]["stage"]["runtimeValue"]["constant"] for entry in stages.values()} == {
        node.address for node in nodes
    }


def test_the_first_task_knows_what_the_pipeline_was_made_from(compiled: Compiled) -> None:
    """Its arguments are those with which `mer kfp check` passes in the same project."""
    given = {
        name: value["runtimeValue"]["constant"]
        for name, value in compiled.tasks[generate.CHECK]["inputs"]["parameters"].items()
        if "runtimeValue" in value
    }
    assert "13 stages" in task.check(edges=given["edges"], code=given["code"], settings="[]", root=compiled.root)


def test_stages_run_only_where_the_first_task_says_so(compiled: Compiled) -> None:
    run = compiled.part("exit-handler-1")
    assert set(run) == {generate.CHECK, "condition-2"}
    assert run["condition-2"]["dependentTasks"] == [generate.CHECK]
    assert run["condition-2"]["triggerPolicy"]["condition"].endswith("'pipelinechannel--check-Output'] == 'retrain'")
    assert set(compiled.part("condition-2")) == set(compiled.tasks) - {generate.CHECK, generate.REPORT}


def test_the_report_is_made_however_the_run_ends(compiled: Compiled) -> None:
    root = compiled.pipeline["root"]["dag"]["tasks"]
    assert root[generate.REPORT]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert root[generate.REPORT]["dependentTasks"] == ["exit-handler-1"]


def test_with_a_repository_tasks_share_no_folder_and_the_last_one_pushes(compiled: Compiled, tmp_path: Path) -> None:
    git = GitSettings(repository="https://git.example.org/mer.git", secret="mer-git", keys=("MER_GIT_TOKEN",))
    settings = replace(load_settings(compiled.root), git=git, workspace_claim="", report_secret="mer-report")
    nodes = [
        dag.Node(address="inputs", command="", description="", deps=(), outs=(), params={}, upstream=()),
        dag.Node(address="train", command="", description="", deps=(), outs=(), params={}, upstream=("inputs",)),
    ]
    in_thread(lambda: compiler.Compiler().compile(generate.build(nodes, settings), str(tmp_path / "mer.yaml")))
    pipeline, platform = yaml.safe_load_all((tmp_path / "mer.yaml").read_text())
    parse(pipeline, platform)
    made = Compiled(root=compiled.root, pipeline=pipeline, platform=platform)
    assert made.tasks[generate.FINISH]["dependentTasks"] == ["inputs", "train"]
    for name, executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items():
        assert "pvcMount" not in executor
        assert executor["emptyDirMounts"][0]["mountPath"] == settings.workspace
        secrets = {entry["secretName"] for entry in executor["secretAsEnv"]}
        assert secrets == ({"mer-git", "mer-report"} if name == "exec-report" else {"mer-git"})
    for executor in pipeline["deploymentSpec"]["executors"].values():
        assert "MER_RAY_JOBS_ADDRESS" not in {entry["name"] for entry in executor["container"]["env"]}


def parse(pipeline: dict[str, Any], platform: dict[str, Any]) -> None:
    """Reads both documents into KFP's own messages, which know every field."""
    json_format.ParseDict(pipeline, PipelineSpec())
    json_format.ParseDict(platform, PlatformSpec())
    for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(executor, KubernetesExecutorConfig())


def test_kfp_knows_every_field(compiled: Compiled) -> None:
    parse(compiled.pipeline, compiled.platform)


def misspelt_caching(pipeline: dict[str, Any], platform: dict[str, Any]) -> None:
    pipeline["components"]["comp-condition-2"]["dag"]["tasks"]["train"]["cachingOption"] = {}


def misspelt_context(pipeline: dict[str, Any], platform: dict[str, Any]) -> None:
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors["exec-train"]["securityContex"] = {"runAsNonRoot": True}


@pytest.mark.parametrize(("typo", "name"), [(misspelt_caching, "cachingOption"), (misspelt_context, "securityContex")])
def test_a_misspelt_field_of_the_pipeline_is_noticed(
    compiled: Compiled, typo: Callable[[dict[str, Any], dict[str, Any]], None], name: str
) -> None:
    pipeline, platform = copy.deepcopy((compiled.pipeline, compiled.platform))
    typo(pipeline, platform)
    with pytest.raises(json_format.ParseError, match=name):
        parse(pipeline, platform)


def test_task_names_are_distinct(compiled: Compiled) -> None:
    tasks = compiled.tasks
    assert "alignment-synthetic" in tasks
    assert "alignment-ravdess" in tasks
    assert len(tasks) == 4 * 2 + 5 + 2


def test_dvc_decides_what_is_up_to_date(compiled: Compiled) -> None:
    """KFP's cache would skip a stage whose inputs are not passed through KFP."""
    for entry in compiled.tasks.values():
        assert not entry["cachingOptions"].get("enableCache", False)


def test_every_task_retries_has_a_deadline_and_the_workspace(compiled: Compiled) -> None:
    settings = load_settings(compiled.root)
    for entry in compiled.tasks.values():
        assert entry["retryPolicy"]["maxRetryCount"] == settings.retries
    executors = compiled.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(compiled.pipeline["deploymentSpec"]["executors"])
    for executor in executors.values():
        assert int(executor["activeDeadlineSeconds"]) > 0
        assert executor["pvcMount"][0]["mountPath"] == settings.workspace
        assert executor["podMetadata"]["labels"] == {"app.kubernetes.io/part-of": "mer"}


def test_heavy_stages_go_to_the_ray_cluster(compiled: Compiled) -> None:
    settings = load_settings(compiled.root)
    for name, executor in compiled.pipeline["deploymentSpec"]["executors"].items():
        variables = {entry["name"]: entry["value"] for entry in executor["container"]["env"]}
        heavy = name.removeprefix("exec-").split("-")[0] in {"alignment", "features", "train", generate.REPORT}
        assert variables.get("MER_RAY_JOBS_ADDRESS") == (settings.ray_jobs_address if heavy else None)


def test_wrong_settings_are_a_clear_error(project: Path) -> None:
    path = project / SETTINGS
    path.write_text(path.read_text() + "retry: 3\n")
    with pytest.raises(ConfigError, match="retry"):
        load_settings(project)
    path.unlink()
    with pytest.raises(ConfigError, match=r"kubeflow\.yaml"):
        load_settings(project)


def test_the_stages_on_ray_are_those_that_mer_run_starts_ray_for() -> None:
    for name, stage in STAGES.items():
        assert Plan(scope=(name,), pending=(name,), reasons={}).needs_ray == stage.needs_ray
    assert {name for name, stage in STAGES.items() if stage.needs_ray} == {"alignment", "features", "train"}


def test_the_file_must_be_yaml(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.yaml"):
        generate.compile_to(tmp_path / "mer.txt")


@pytest.mark.parametrize(
    ("address", "name"),
    [("train", "train"), ("alignment@my_set", "alignment-my-set"), ("features@MELD", "features-meld")],
)
def test_task_names_are_kubernetes_names(address: str, name: str) -> None:
    assert generate.task_name(address) == name
