from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from components.contracts import versions
from components.contracts.config import Params
from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.cli import app
from pipelines.stages import STAGES
from tests.pipelines.projects import ROOT, TINY


@pytest.fixture(scope="module")
def nodes() -> tuple[dag.Node, ...]:
    return dag.read(ROOT)


def test_the_stages_in_running_order(nodes: tuple[dag.Node, ...]) -> None:
    assert tuple(dict.fromkeys(node.stage for node in nodes)) == tuple(STAGES)


def test_it_is_the_same_from_any_folder(nodes: tuple[dag.Node, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    assert dag.read(ROOT) == nodes


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_command_of_its_name(stage: str, nodes: tuple[dag.Node, ...]) -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert stage in known
    for node in nodes:
        if node.stage == stage:
            assert node.command == (f"mer {stage} --dataset {node.item}" if node.item else f"mer {stage}")
            assert node.description == STAGES[stage].summary


@pytest.mark.parametrize("stage", [name for name in STAGES if name != dag.ALWAYS])
def test_a_stage_depends_on_its_own_version(stage: str, nodes: tuple[dag.Node, ...]) -> None:
    name = stage.upper()
    assert isinstance(getattr(versions, name), int)
    for node in nodes:
        if node.stage == stage:
            assert node.params["components/contracts/versions.py"] == (name,)


def test_parameters_exist(nodes: tuple[dag.Node, ...]) -> None:
    resolved = Params().model_dump(mode="json")
    for node in nodes:
        for key in node.params.get("data/inputs/params.yaml", ()):
            value = resolved
            for part in key.split("."):
                assert part in value, f"{node.address}: {key}"
                value = value[part]


def test_sections_that_change_no_output_change_no_stage(nodes: tuple[dag.Node, ...]) -> None:
    used = {key.split(".")[0] for node in nodes for key in node.params.get("data/inputs/params.yaml", ())}
    others = {"ablate", "promotion", "serving", "rollout", "ray", "retrain", "runtime", "tune"}
    assert used.isdisjoint(others)
    assert used == set(Params.model_fields) - others - {"sources"}


def test_data_only_flows_down(nodes: tuple[dag.Node, ...]) -> None:
    order = list(STAGES)
    for node in nodes:
        for upstream in node.upstream:
            assert order.index(upstream.partition("@")[0]) < order.index(node.stage)


def test_every_dataset_reaches_the_catalog(project: Path) -> None:
    params = {**TINY, "datasets": ["synthetic", "ravdess"]}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    node_of = {node.address: node for node in dag.read(project)}
    assert {"validation@synthetic", "validation@ravdess"} <= set(node_of["catalog"].upstream)
    assert node_of["features@ravdess"].upstream == ("alignment@ravdess", "inputs")
    assert node_of["train"].upstream == ("catalog", "inputs")


def test_only_the_first_stage_always_runs() -> None:
    text = re.findall(r"^  (\w+):|always_changed: (true)", (ROOT / "dvc.yaml").read_text(), flags=re.MULTILINE)
    owners = [text[index - 1][0] for index, (_, always) in enumerate(text) if always]
    assert owners == [dag.ALWAYS]


def test_downstream_and_upstream(nodes: tuple[dag.Node, ...]) -> None:
    assert dag.with_downstream(nodes, ["train"]) == ("train", "evaluate", "register")
    assert dag.with_upstream(nodes, ["alignment@synthetic"]) == ("inputs", "datasets@synthetic", "alignment@synthetic")


def test_a_name_means_all_its_items(nodes: tuple[dag.Node, ...]) -> None:
    assert dag.resolve(nodes, "features") == ("features@synthetic",)
    assert dag.resolve(nodes, "train") == ("train",)
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        dag.resolve(nodes, "trian")


def test_a_broken_dvc_yaml_is_a_clear_word(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages:\n  a:\n    cmd: x\n    nonsense: 1\n")
    with pytest.raises(ConfigError, match=r"dvc\.yaml"):
        dag.read(project)
