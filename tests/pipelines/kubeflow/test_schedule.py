"""Recurring runs against a server in memory, whose answers are objects of KFP's own client library."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any

import kfp_server_api as api
import pytest
from kfp.client import Client as KfpClient

from components.contracts.errors import ConfigError, UnavailableError
from pipelines.kubeflow import schedule
from pipelines.kubeflow.schedule import Schedule, Schedules
from tests.pipelines.projects import ROOT

DESIRED = Schedules(
    prefix="mer-", experiment="mer", schedules=(Schedule(name="mer-nightly", description="d", cron="0 0 2 * * *"),)
)


class MemoryClient:
    """A client of a server in memory, with the classes and field types of the real one (`max_concurrency` is text)."""

    def __init__(self, page: int = 100) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.recurring: dict[str, api.V2beta1RecurringRun] = {}
        self.runs: list[api.V2beta1Run] = []
        self.page = page
        self._ids = (f"id-{number}" for number in itertools.count())

    def create_experiment(self, name: str) -> Any:
        return api.V2beta1Experiment(experiment_id=f"experiment-{name}", display_name=name)

    def list_recurring_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        begin = int(page_token or 0)
        runs = [run for run in self.recurring.values() if run.experiment_id == experiment_id]
        end = begin + self.page
        return api.V2beta1ListRecurringRunsResponse(
            recurring_runs=runs[begin:end] or None, next_page_token=str(end) if end < len(runs) else None
        )

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
            status="ENABLED" if arguments["enabled"] else "DISABLED",
        )
        self.recurring[run.recurring_run_id] = run
        return run

    def disable_recurring_run(self, recurring_run_id: str) -> Any:
        self.calls.append(("pause", recurring_run_id))
        self.recurring[recurring_run_id].status = "DISABLED"

    def delete_recurring_run(self, recurring_run_id: str) -> Any:
        self.calls.append(("delete", recurring_run_id))
        del self.recurring[recurring_run_id]

    def list_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        self.calls.append(("list", None))
        return api.V2beta1ListRunsResponse(runs=self.runs or None, next_page_token=None)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text("root: {}\n")
    return path


def reconcile(client: MemoryClient, desired: Schedules, package: Path, *, apply: bool = True, sleep: Any = None) -> str:
    return schedule.reconcile(client, desired, lambda: package, apply=apply, sleep=sleep or (lambda _: None))


def changed(**fields: Any) -> Schedules:
    return DESIRED.model_copy(update={"schedules": (DESIRED.schedules[0].model_copy(update=fields),)})


@pytest.mark.parametrize(
    "name",
    [
        "create_experiment",
        "list_recurring_runs",
        "create_recurring_run",
        "disable_recurring_run",
        "delete_recurring_run",
        "list_runs",
    ],
)
def test_the_client_has_these_calls_and_arguments(name: str) -> None:
    ours = inspect.signature(getattr(schedule.Client, name)).parameters
    theirs = inspect.signature(getattr(KfpClient, name)).parameters
    assert {key for key in ours if key != "arguments"} <= set(theirs)


def test_without_apply_nothing_is_done(package: Path) -> None:
    client = MemoryClient()
    assert reconcile(client, DESIRED, package, apply=False) == "would: create mer-nightly"
    assert client.calls == []


def test_apply_creates_and_a_second_apply_does_nothing(package: Path) -> None:
    client = MemoryClient()
    assert reconcile(client, DESIRED, package) == "done: create mer-nightly"
    client.calls.clear()
    assert "as they should be" in reconcile(client, DESIRED, package)
    assert client.calls == []
    (created,) = client.recurring.values()
    assert (created.max_concurrency, created.no_catchup, created.status) == ("1", True, "ENABLED")


@pytest.mark.parametrize(
    "fields",
    [
        {"cron": "0 0 3 * * *"},
        {"max_concurrency": 2},
        {"no_catchup": False},
        {"enabled": False},
        {"description": "other"},
    ],
)
def test_a_difference_is_replaced_in_the_safe_order(package: Path, fields: dict[str, Any]) -> None:
    client = MemoryClient()
    reconcile(client, DESIRED, package)
    client.calls.clear()
    assert next(iter(fields)) in reconcile(client, changed(**fields), package)
    assert [what for what, _ in client.calls] == ["pause", "list", "create", "delete"]
    assert "as they should be" in reconcile(client, changed(**fields), package)


def test_a_changed_pipeline_is_a_difference(package: Path) -> None:
    client = MemoryClient()
    reconcile(client, DESIRED, package)
    package.write_text("root: {dag: {}}\n")
    assert "replace mer-nightly" in reconcile(client, DESIRED, package)


def test_it_waits_for_the_old_ones_run(package: Path) -> None:
    client = MemoryClient()
    reconcile(client, DESIRED, package)
    (old,) = client.recurring
    client.runs = [api.V2beta1Run(run_id="r", recurring_run_id=old, state="RUNNING")]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert old in client.recurring
        if len(slept) == 3:
            client.runs[0].state = "SUCCEEDED"

    reconcile(client, changed(cron="0 0 3 * * *"), package, sleep=sleep)
    assert len(slept) == 3
    assert old not in client.recurring


def test_runs_of_other_schedules_are_not_waited_for(package: Path) -> None:
    client = MemoryClient()
    reconcile(client, DESIRED, package)
    client.runs = [api.V2beta1Run(run_id="r", recurring_run_id="not-ours", state="RUNNING")]
    assert "done: replace" in reconcile(client, changed(cron="0 0 3 * * *"), package, sleep=None)


def test_a_run_that_never_ends_deletes_nothing(package: Path) -> None:
    client = MemoryClient()
    reconcile(client, DESIRED, package)
    (old,) = client.recurring
    client.runs = [api.V2beta1Run(run_id="r", recurring_run_id=old, state="RUNNING")]
    with pytest.raises(UnavailableError, match="does not finish"):
        reconcile(client, changed(cron="0 0 3 * * *"), package)
    assert client.recurring[old].status == "DISABLED"


def test_an_interrupted_replacement_is_completed(package: Path) -> None:
    client = MemoryClient()
    reconcile(client, DESIRED, package)
    stamped = schedule.stamped(DESIRED, package).schedules[0]
    client.create_recurring_run(
        "experiment-mer",
        "mer-nightly",
        description=stamped.description,
        cron_expression=stamped.cron,
        max_concurrency=1,
        no_catchup=True,
        enabled=True,
    )
    assert "2 of this name" in reconcile(client, DESIRED, package)
    assert len(client.recurring) == 1


def test_runs_with_the_prefix_that_are_not_in_the_file_are_deleted_and_others_stay(package: Path) -> None:
    client = MemoryClient(page=1)
    reconcile(client, DESIRED, package)
    for name in ("mer-old", "not-ours"):
        client.create_recurring_run(
            "experiment-mer",
            name,
            description="",
            cron_expression="0 * * * * *",
            max_concurrency=1,
            no_catchup=True,
            enabled=True,
        )
    assert reconcile(client, DESIRED, package) == "done: delete mer-old: not in the file"
    assert {run.display_name for run in client.recurring.values()} == {"mer-nightly", "not-ours"}


def test_the_committed_file() -> None:
    committed = schedule.read(ROOT / schedule.FILE)
    assert all(entry.name.startswith(committed.prefix) for entry in committed.schedules)
    assert all(entry.max_concurrency == 1 and entry.no_catchup for entry in committed.schedules)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefix: m-\nexperiment: e\nschedules: [{name: a, cron: '0 2 * * *'}]", "six fields"),
        ("prefix: m-\nexperiment: e\nschedules: [{name: a, cron: '0 0 2 * * *', paused: true}]", "unknown key"),
        (
            "prefix: m-\nexperiment: e\nschedules: [{name: a, cron: '0 0 2 * * *'}, {name: a, cron: '0 0 2 * * *'}]",
            "twice",
        ),
        ("prefix: ''\nexperiment: e", "at least 1 character"),
        ("[", "cannot read"),
    ],
)
def test_a_wrong_file_is_a_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        schedule.read(path)


def test_apply_needs_a_server() -> None:
    with pytest.raises(ConfigError, match="--host"):
        schedule.command(apply=True, file=ROOT / schedule.FILE)


def test_without_a_server_the_file_is_printed() -> None:
    assert "mer-nightly: cron '0 0 2 * * *', at most 1 at once" in schedule.command(file=ROOT / schedule.FILE)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_unreachable_server(project: Path) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        schedule.command(host="http://127.0.0.1:9")
