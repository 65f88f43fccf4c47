from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from components.contracts import versions
from components.contracts.config import Params
from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines import dag
from pipelines.stages import STAGES, Stage, call_stage
from tests.pipelines.projects import ROOT

PARAMETERS = "data/inputs/params.yaml"
# By these a function gets at more of the configuration than it is handed.
WHOLE = {"Params", "load_params", "parse_params"}
# Where the whole configuration may be: where it is read, and in `mer ablate` and `mer tune`, which are commands and not
# stages.
EXEMPT = ("contracts/config/", "ablation/", "tuning/")


@pytest.fixture(scope="module")
def nodes() -> tuple[dag.Node, ...]:
    return dag.read(ROOT)


@pytest.mark.parametrize("name", STAGES)
def test_what_decides_the_outputs_is_what_dvc_yaml_declares(name: str, nodes: tuple[dag.Node, ...]) -> None:
    stage = STAGES[name]
    (node,) = (node for node in nodes if node.stage == name)
    assert set(node.params.get(PARAMETERS, ())) == set(stage.decided_by)
    assert stage.per_dataset == (node.item is not None)
    own = f"data/inputs/{node.item}.json"
    assert stage.own_section == (own in node.deps)
    assert stage.per_dataset == (f"data/inputs/decisions/{node.item}/{name}.json" in node.deps)


def test_only_the_stage_that_resolves_the_configuration_has_all_of_it() -> None:
    assert [stage.name for stage in STAGES.values() if stage.whole] == ["inputs"]
    assert [stage.name for stage in STAGES.values() if stage.recorded] == ["train"]


@pytest.mark.parametrize("stage", [stage for stage in STAGES.values() if not stage.whole], ids=lambda stage: stage.name)
def test_a_stage_takes_exactly_the_values_of_its_line(stage: Stage) -> None:
    values = stage.values(Params(), "synthetic")
    extra = stage.own_section + stage.recorded
    assert len(values) == len(stage.decided_by) + len(stage.runs_with) + extra  # no two of one name
    parameters = inspect.signature(stage.function()).parameters.values()
    kinds = inspect.Parameter
    positional = [parameter.name for parameter in parameters if parameter.kind is not kinds.KEYWORD_ONLY]
    assert positional == (["name", "layout"] if stage.per_dataset else ["layout"])
    keywords = {parameter.name for parameter in parameters if parameter.kind is kinds.KEYWORD_ONLY}
    assert keywords == set(values)
    assert all(parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY) for parameter in parameters)


def reads_whole(tree: ast.AST) -> set[str]:
    """Ways to the whole configuration in a module: the names of WHOLE, and the file itself (`layout.params`)."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    attributes = {node for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.attr for node in attributes}
    files = {"layout.params" for node in attributes if ast.unparse(node).endswith("layout.params")}
    return (names & WHOLE) | files


def test_no_component_can_read_the_rest_of_the_configuration() -> None:
    folder = ROOT / "components"
    reads_of = {
        path.relative_to(folder).as_posix(): reads
        for path in folder.rglob("*.py")
        if (reads := reads_whole(ast.parse(path.read_text())))
    }
    assert {name: reads for name, reads in reads_of.items() if not name.startswith(EXEMPT)} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from components.contracts.config import Params",
        "from components.contracts import config\nconfig.load_params(path, ())",
        "yaml.safe_load(layout.params.read_text())",
    ],
)
def test_a_read_of_the_whole_would_be_detected(source: str) -> None:
    assert reads_whole(ast.parse(source))


def test_a_value_for_running_only_does_not_decide_the_output() -> None:
    for stage in STAGES.values():
        assert not set(stage.decided_by) & set(stage.runs_with)


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if not stage.whole])
def test_a_stage_has_a_version(name: str) -> None:
    assert isinstance(getattr(versions, name.upper()), int)


def test_a_stage_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        call_stage("trian", Params(), Layout(tmp_path))
