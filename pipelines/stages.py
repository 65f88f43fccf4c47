"""The stage table: what each stage of `dvc.yaml` does, how often, and which values of the configuration it
receives.

A stage, its line here, its stanza in `dvc.yaml`, its `mer` command and its KFP task share one name. A stage is called
with exactly the values that its line names, each as a keyword argument named after the last part of its path
(`registry.model_name` → `model_name`), so it cannot read a value that `dvc.yaml` does not declare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout

if TYPE_CHECKING:  # importing pydantic takes a fraction of a second, which `mer --help` need not spend
    from components.contracts.config import Params


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        name: as in `dvc.yaml`.
        summary: what the stage does, in one line; the same text as `desc` in `dvc.yaml`.
        work: module and function, imported when it runs. Once per dataset it is `work(dataset, layout, **values)`, else
            `work(layout, **values)`; it writes the outputs and returns a small summary.
        imports: functions, each `module:name`, that import the libraries that this stage shares with others; `mer run`
            calls them in the process that its stages are forks of.
        per_dataset: whether it runs once per dataset; such a stage may set clips aside, and decisions about those
            reach it in `data/inputs/decisions/<dataset>/<stage>.json`.
        decided_by: values that decide its outputs: `dvc.yaml` declares the same ones, and DVC runs the stage when one
            of them changes.
        runs_with: values that decide only where and how it runs, or what is recorded beside the outputs; DVC ignores
            them.
        reads: stages whose outputs it reads although `dvc.yaml` does not name them: what it depends on names their rows
            by content.
        own_section: whether it receives the dataset's own section, as `section`. The section is part of
            `data/inputs/<dataset>.json`, which `dvc.yaml` declares.
        recorded: whether it receives the whole configuration as JSON text, for a record of the run.
        whole: whether it receives the whole configuration, as `work(params, layout)`. Such a stage always runs.
    """

    name: str
    summary: str
    work: str
    imports: tuple[str, ...] = ()
    per_dataset: bool = False
    decided_by: tuple[str, ...] = ()
    runs_with: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    own_section: bool = False
    recorded: bool = False
    whole: bool = False

    @property
    def needs_ray(self) -> bool:
        """Whether it starts actors or workers."""
        return "ray" in self.runs_with

    @property
    def needs_tracking(self) -> bool:
        """Whether it talks to MLflow."""
        return "tracking" in (*self.decided_by, *self.runs_with)

    def function(self) -> Callable[..., Mapping[str, Any]]:
        """The work itself."""
        return _named(self.work)

    def import_libraries(self) -> None:
        """Imports the work, and the libraries that it shares with other stages."""
        self.function()
        for name in self.imports:
            _named(name)()

    def values(self, params: Params, dataset: str | None = None) -> dict[str, Any]:
        """The keyword arguments of the work: the only part of the configuration that it receives."""
        values = {path.rpartition(".")[2]: attrgetter(path)(params) for path in (*self.decided_by, *self.runs_with)}
        if self.own_section:
            values["section"] = params.sources.get(dataset or "", {})
        if self.recorded:
            values["recorded"] = params.model_dump_json()
        return values


def _named(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="inputs",
            summary="record parameters, corpus fingerprints and withdrawals",
            work="pipelines.inputs:write",
            whole=True,
        ),
        Stage(
            name="datasets",
            summary="list the clips of a corpus, on disk or rendered",
            work="components.datasets.stage:run",
            per_dataset=True,
            decided_by=("labels", "seed"),
            own_section=True,
        ),
        Stage(
            name="alignment",
            summary="put every stream of each clip on one clock, with masks",
            work="components.alignment.stage:run",
            per_dataset=True,
            decided_by=("alignment",),
            runs_with=("ray", "runtime"),
        ),
        Stage(
            name="features",
            summary="encode aligned clips into the content-addressed store",
            work="components.features.stage:run",
            per_dataset=True,
            decided_by=("features.encoders",),
            runs_with=("features.actors", "features.batch_clips", "features.device", "ray", "runtime"),
        ),
        Stage(
            name="validation",
            summary="check data contracts and quarantine clips that fail",
            work="components.validation.stage:run",
            imports=("components.validation.checkpoint:import_library",),
            per_dataset=True,
            decided_by=("alignment.quality", "labels", "validation"),
        ),
        Stage(
            name="catalog",
            summary="list the training data in subject-disjoint splits",
            work="components.catalog.stage:run",
            imports=("components.validation.checkpoint:import_library",),
            decided_by=("catalog", "datasets", "labels", "seed"),
        ),
        Stage(
            name="train",
            summary="train the model on the catalog, tracked in MLflow",
            work="components.training.stage:run",
            imports=("components.tracking.client:import_library",),
            decided_by=("model", "seed", "train"),
            runs_with=("ray", "runtime", "tracking"),
            reads=("features", "validation"),
            recorded=True,
        ),
        Stage(
            name="evaluate",
            summary="test on held-out subjects: metrics, calibration, gates",
            work="components.evaluation.stage:run",
            imports=("components.tracking.client:import_library",),
            decided_by=("evaluate", "gates", "registry.model_name", "seed", "train"),
            runs_with=("runtime", "tracking"),
            reads=("features",),
        ),
        Stage(
            name="register",
            summary="bundle model, transform, evidence; register a version",
            work="components.registry.stage:run",
            imports=("components.tracking.client:import_library",),
            decided_by=("alignment", "registry", "tracking"),
            runs_with=("rollout.alias", "rollout.golden_tolerance", "runtime", "seed"),
            reads=("features", "validation"),
        ),
    )
}


def stage_of(name: str) -> Stage:
    """The line of a stage. Raises ConfigError: there is no such stage."""
    if name not in STAGES:
        raise ConfigError.unknown("stage", name, list(STAGES), where="pipelines/stages.py")
    return STAGES[name]


def call_stage(name: str, params: Params, layout: Layout, dataset: str | None = None) -> Mapping[str, Any]:
    """Does the work of a stage and returns its summary.

    Args:
        name: of the stage.
        params: the configuration; the work receives the values that its line in the table names.
        layout: the project's.
        dataset: only for the stages that run once per dataset.

    Raises:
        MerError: any error of the work.
    """
    stage = stage_of(name)
    if stage.whole:
        return stage.function()(params, layout)
    if stage.per_dataset:
        return stage.function()(dataset, layout, **stage.values(params, dataset))
    return stage.function()(layout, **stage.values(params))
