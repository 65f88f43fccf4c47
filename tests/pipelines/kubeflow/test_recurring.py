"""Recurring runs against a server in memory, whose answers are objects of KFP's own client library."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kfp_server_api as api
import pytest
from kfp.client import Client as KfpClient

from components.contracts.errors import ConfigError, UnavailableError
from pipelines.kubeflow import recurring
from pipelines.kubeflow.place import Client, Place
from pipelines.kubeflow.recurring import Package
from pipelines.kubeflow.schedules import Schedule, Schedules
from pipelines.kubeflow.task import asked

NIGHTLY = Schedule(name="mer-nightly", description="d", cron="0 0 2 * * *")
DESIRED = Schedules(prefix="mer-", experiment="mer", schedules=(NIGHTLY,))
SPACE = "team-a"


class MemoryClient:
    """A client of a server in memory, with the classes and field types of the real one (`max_concurrency` is text)."""

    def __init__(self, page: int = 100) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.experiments: list[api.V2beta1Experiment] = []
        self.pipelines: list[api.V2beta1Pipeline] = []
        self.versions: list[api.V2beta1PipelineVersion] = []
        self.recurring: dict[str, api.V2beta1RecurringRun] = {}
        self.runs: list[api.V2beta1Run] = []
        self.page = page
        self._ids = (f"id-{number}" for number in itertools.count())

    def _paged(self, items: Sequence[Any], token: str) -> tuple[Any, str | None]:
        begin = int(token or 0)
        end = begin + self.page
        return list(items[begin:end]) or None, str(end) if end < len(items) else None

    def list_experiments(self, page_token: str, page_size: int, namespace: str | None) -> Any:
        items, token = self._paged([item for item in self.experiments if item.namespace == namespace], page_token)
        return api.V2beta1ListExperimentsResponse(experiments=items, next_page_token=token)

    def create_experiment(self, name: str, namespace: str | None) -> Any:
        for item in self.experiments:
            if (item.display_name, item.namespace) == (name, namespace):
                return item
        self.calls.append(("experiment", name))
        self.experiments.append(
            api.V2beta1Experiment(experiment_id=next(self._ids), display_name=name, namespace=namespace)
        )
        return self.experiments[-1]

    def list_pipelines(self, page_token: str, page_size: int, namespace: str | None) -> Any:
        items, token = self._paged([item for item in self.pipelines if item.namespace == namespace], page_token)
        return api.V2beta1ListPipelinesResponse(pipelines=items, next_page_token=token)

    def list_pipeline_versions(self, pipeline_id: str, page_token: str, page_size: int) -> Any:
        items, token = self._paged([item for item in self.versions if item.pipeline_id == pipeline_id], page_token)
        return api.V2beta1ListPipelineVersionsResponse(pipeline_versions=items, next_page_token=token)

    def upload_pipeline(self, pipeline_package_path: str, pipeline_name: str, namespace: str | None) -> Any:
        self.calls.append(("upload", pipeline_name))
        pipeline = api.V2beta1Pipeline(pipeline_id=next(self._ids), display_name=pipeline_name, namespace=namespace)
        self.pipelines.append(pipeline)
        return pipeline

    def upload_pipeline_version(self, pipeline_package_path: str, pipeline_version_name: str, pipeline_id: str) -> Any:
        self.calls.append(("version", pipeline_version_name))
        version = api.V2beta1PipelineVersion(
            pipeline_id=pipeline_id, pipeline_version_id=next(self._ids), display_name=pipeline_version_name
        )
        self.versions.append(version)
        return version

    def list_recurring_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        same = [run for run in self.recurring.values() if run.experiment_id == experiment_id]
        items, token = self._paged(same, page_token)
        return api.V2beta1ListRecurringRunsResponse(recurring_runs=items, next_page_token=token)

    def create_recurring_run(self, experiment_id: str, job_name: str, **arguments: Any) -> Any:
        inspect.signature(KfpClient.create_recurring_run).bind(None, experiment_id, job_name, **arguments)
        self.calls.append(("create", job_name))
        run = api.V2beta1RecurringRun(
            recurring_run_id=next(self._ids),
            experiment_id=experiment_id,
            display_name=job_name,
            description=arguments["description"],
            max_concurrency=str(arguments["max_concurrency"]),
            no_catchup=arguments["no_catchup"],
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=arguments["cron_expression"])),
            pipeline_version_reference=api.V2beta1PipelineVersionReference(
                pipeline_id=arguments["pipeline_id"], pipeline_version_id=arguments["version_id"]
            ),
            runtime_config=api.V2beta1RuntimeConfig(parameters=arguments["params"]),
            service_account=arguments["service_account"],
            status="ENABLED" if arguments["enabled"] else "DISABLED",
        )
        self.recurring[run.recurring_run_id] = run
        return run

    def disable_recurring_run(self, recurring_run_id: str) -> Any:
        self.calls.append(("pause", recurring_run_id))
        self.recurring[recurring_run_id].status = "DISABLED"

    def enable_recurring_run(self, recurring_run_id: str) -> Any:
        self.calls.append(("resume", recurring_run_id))
        self.recurring[recurring_run_id].status = "ENABLED"

    def delete_recurring_run(self, recurring_run_id: str) -> Any:
        self.calls.append(("delete", recurring_run_id))
        del self.recurring[recurring_run_id]

    def list_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        return api.V2beta1ListRunsResponse(runs=self.runs or None, next_page_token=None)

    def run_pipeline(self, experiment_id: str, job_name: str, **arguments: Any) -> Any:
        inspect.signature(KfpClient.run_pipeline).bind(None, experiment_id, job_name, **arguments)
        self.calls.append(("run", arguments))
        return api.V2beta1Run(run_id="r-1")

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.calls]


def parameters(schedule: Schedule) -> dict[str, str]:
    return {"only": " ".join(schedule.stages), "assignments": json.dumps(list(schedule.settings))}


@pytest.fixture
def package(tmp_path: Path) -> Package:
    path = tmp_path / "pipeline.yaml"
    path.write_text("root: {}\n")
    return Package(path=path, parameters=parameters)


@pytest.fixture
def applied(package: Package) -> Place:
    """A server on which the file was applied."""
    place = Place(client=MemoryClient(), namespace=SPACE, service_account="trainer")
    recurring.apply(place, DESIRED, package)
    client(place).calls.clear()
    return place


def client(place: Place) -> MemoryClient:
    assert isinstance(place.client, MemoryClient)
    return place.client


def changed(**fields: Any) -> Schedules:
    return DESIRED.model_copy(update={"schedules": (NIGHTLY.model_copy(update=fields),)})


def under_way(place: Place, state: str = "RUNNING") -> str:
    """A run of the schedule that the server has."""
    (old,) = client(place).recurring
    client(place).runs = [api.V2beta1Run(run_id="r-0", recurring_run_id=old, state=state)]
    return old


@pytest.mark.parametrize("name", [name for name in vars(Client) if not name.startswith("_")])
def test_the_client_has_these_calls_and_arguments(name: str) -> None:
    ours = inspect.signature(getattr(Client, name)).parameters
    theirs = inspect.signature(getattr(KfpClient, name)).parameters
    assert {key for key in ours if key != "arguments"} <= set(theirs)


def test_looking_changes_nothing_on_the_server(package: Package) -> None:
    place = Place(client=MemoryClient(), namespace=SPACE)
    assert recurring.diff(place, DESIRED, package) == "would: create mer-nightly"
    assert "no recurring run" in recurring.listing(place, DESIRED)
    assert client(place).calls == []


def test_apply_creates_and_a_second_apply_does_nothing(package: Package) -> None:
    place = Place(client=MemoryClient(), namespace=SPACE, service_account="trainer")
    assert recurring.apply(place, DESIRED, package) == "done: create mer-nightly"
    assert client(place).kinds == ["experiment", "upload", "version", "create"]
    assert client(place).pipelines[0].namespace == client(place).experiments[0].namespace == SPACE
    (created,) = client(place).recurring.values()
    assert (created.max_concurrency, created.no_catchup, created.status) == ("1", True, "ENABLED")
    assert created.service_account == "trainer"
    client(place).calls.clear()
    assert "as they should be" in recurring.apply(place, DESIRED, package)
    assert client(place).calls == []
    assert "mer-nightly: description 'd', cron '0 0 2 * * *'" in recurring.listing(place, DESIRED)


@pytest.mark.parametrize(
    "fields",
    [
        {"cron": "0 0 3 * * *"},
        {"max_concurrency": 2},
        {"no_catchup": False},
        {"description": "other"},
        {"stages": ("features",)},
        {"settings": ("train.epochs=3",)},
    ],
)
def test_a_difference_is_replaced_in_the_safe_order(applied: Place, package: Package, fields: dict[str, Any]) -> None:
    assert "replace mer-nightly: " in recurring.diff(applied, changed(**fields), package)
    assert client(applied).calls == []
    recurring.apply(applied, changed(**fields), package)
    assert client(applied).kinds == ["pause", "create", "delete"]
    assert "as they should be" in recurring.apply(applied, changed(**fields), package)


def test_pausing_and_resuming_need_no_new_recurring_run(applied: Place, package: Package) -> None:
    assert recurring.apply(applied, changed(enabled=False), package) == "done: pause mer-nightly"
    assert recurring.apply(applied, DESIRED, package) == "done: resume mer-nightly"
    assert client(applied).kinds == ["pause", "resume"]


def test_by_hand_too_and_the_file_decides_again(applied: Place, package: Package) -> None:
    assert recurring.switch(applied, DESIRED, "mer-nightly", on=False).startswith("mer-nightly: paused")
    assert recurring.diff(applied, DESIRED, package) == "would: resume mer-nightly"
    recurring.switch(applied, DESIRED, "mer-nightly", on=True)
    assert "as they should be" in recurring.diff(applied, DESIRED, package)
    with pytest.raises(ConfigError, match="Did you mean 'mer-nightly'"):
        recurring.switch(applied, DESIRED, "mer-nightl", on=False)


def test_a_changed_pipeline_is_a_new_version(applied: Place, package: Package) -> None:
    package.path.write_text("root: {dag: {}}\n")
    assert "pipeline" in recurring.apply(applied, DESIRED, package)
    assert client(applied).kinds == ["pause", "version", "create", "delete"]
    assert len(client(applied).pipelines) == 1
    (run,) = client(applied).recurring.values()
    assert run.pipeline_version_reference.pipeline_version_id == client(applied).versions[-1].pipeline_version_id


def test_a_run_under_way_is_neither_ended_nor_waited_for(applied: Place, package: Package) -> None:
    """Deleting a recurring run ends its run, so the old one stays, paused, until the run is over."""
    old = under_way(applied)
    assert "the next apply deletes it" in recurring.apply(applied, changed(cron="0 0 3 * * *"), package)
    states = {run.trigger.cron_schedule.cron: run.status for run in client(applied).recurring.values()}
    assert states == {"0 0 2 * * *": "DISABLED", "0 0 3 * * *": "ENABLED"}
    assert "the next apply deletes it" in recurring.apply(applied, changed(cron="0 0 3 * * *"), package)
    under_way_is_over = client(applied).runs[0]
    under_way_is_over.state = "SUCCEEDED"
    assert (
        recurring.apply(applied, changed(cron="0 0 3 * * *"), package) == "done: delete mer-nightly: replaced earlier"
    )
    assert old not in client(applied).recurring
    assert len(client(applied).recurring) == 1


def test_runs_with_the_prefix_that_are_not_in_the_file_are_deleted_and_others_stay(package: Package) -> None:
    place = Place(client=MemoryClient(page=1))
    others = ("mer-old", "mer-nightly", "not-ours")
    # A file whose prefix is shorter could have made all three.
    file = Schedules(
        prefix="m", experiment="mer", schedules=tuple(NIGHTLY.model_copy(update={"name": name}) for name in others[:2])
    )
    recurring.apply(place, file, package)
    foreign = file.model_copy(update={"schedules": (NIGHTLY.model_copy(update={"name": "not-ours"}),)})
    recurring.apply(place, foreign.model_copy(update={"prefix": "not-"}), package)
    assert recurring.apply(place, DESIRED, package) == "done: delete mer-old: not in the file"
    assert {run.display_name for run in client(place).recurring.values()} == {"mer-nightly", "not-ours"}


def test_a_run_by_hand_uses_the_version_and_the_schedules_limits(applied: Place, package: Package) -> None:
    schedule = NIGHTLY.model_copy(update={"stages": ("features@a",), "settings": ("train.epochs=3",)})
    assert recurring.run_now(applied, DESIRED, schedule, package, asked("ada")) == "started run r-1"
    ((kind, arguments),) = client(applied).calls
    assert kind == "run"
    assert arguments["version_id"] == client(applied).versions[-1].pipeline_version_id
    decision = asked("ada").to_json()
    limits = {"only": "features@a", "assignments": '["train.epochs=3"]'}
    assert arguments["params"] == {**limits, "decision": decision}
    assert arguments["service_account"] == "trainer"


def test_two_runs_do_not_overlap(applied: Place, package: Package) -> None:
    under_way(applied)
    with pytest.raises(UnavailableError, match="r-0"):
        recurring.run_now(applied, DESIRED, NIGHTLY, package, asked("ada"))
    under_way(applied, "FAILED")
    recurring.run_now(applied, DESIRED, NIGHTLY, package, asked("ada"))


def test_other_namespaces_are_not_looked_at(applied: Place, package: Package) -> None:
    elsewhere = replace(applied, namespace="team-b")
    assert recurring.diff(elsewhere, DESIRED, package) == "would: create mer-nightly"
