"""`mer schedule`: the recurring runs of `infra/schedules.yaml`, compared with a Kubeflow Pipelines server and applied.

The file is the desired state. A recurring run cannot be changed once it exists, so one that differs is replaced: the
old one is paused, its current run finishes, the new one is created, the old one is deleted. After an interruption the
next `--apply` continues from the present state of the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import Field, ValidationError, field_validator

from components.contracts.config import Section, section_error
from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.fingerprint import file_sha256
from pipelines.project import find_root

FILE = Path("infra") / "schedules.yaml"
CRON_FIELDS = 6
PAGE = 100
# KFP's states of a run that is over; in every other state it is running or waiting.
FINISHED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
POLL_S = 10.0
LONGEST_RUN_S = 12 * 3600.0


class Schedule(Section):
    """The desired state of one recurring run."""

    name: str
    """Name of the recurring run. It should start with the file's `prefix`, by which the server's runs are recognised
    as the file's."""

    description: str = ""
    """Its purpose; the hash of the compiled pipeline is added to it."""

    cron: str
    """When it runs, in six fields: second minute hour day month weekday."""

    max_concurrency: int = Field(1, ge=1, le=10)
    """The most runs of it at a time."""

    no_catchup: bool = True
    """Whether missed runs are skipped; false catches up on all of them."""

    enabled: bool = True
    """Whether it runs; false pauses it."""

    @field_validator("cron")
    @classmethod
    def _six_fields(cls, cron: str) -> str:
        if len(cron.split()) != CRON_FIELDS:
            raise ValueError("six fields: second minute hour day month weekday, for example '0 0 2 * * *'")
        return cron


class Schedules(Section):
    """`infra/schedules.yaml`."""

    prefix: str = Field(min_length=1)
    """Recurring runs on the server whose names start with this are the file's: those not listed in it are deleted."""

    experiment: str
    """Name of the experiment in Kubeflow Pipelines."""

    schedules: tuple[Schedule, ...] = ()
    """The recurring runs."""

    @field_validator("schedules")
    @classmethod
    def _once(cls, schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
        names = [schedule.name for schedule in schedules]
        if len(set(names)) != len(names):
            raise ValueError("a name occurs twice")
        return schedules


@dataclass(frozen=True, kw_only=True)
class RecurringRun:
    """One recurring run on the server."""

    recurring_run_id: str
    experiment_id: str
    schedule: Schedule


@dataclass(frozen=True, kw_only=True)
class ScheduleChange:
    """One change: create, replace or delete; `why` lists the differences."""

    kind: str
    name: str
    why: tuple[str, ...] = ()
    desired: Schedule | None = None
    old: tuple[RecurringRun, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f": {'; '.join(self.why)}" if self.why else "")


class Client(Protocol):
    """The methods of `kfp.Client` that are used, with its own names and arguments."""

    def create_experiment(self, name: str) -> Any:
        """Returns the experiment, created if it does not exist; it has an `experiment_id`."""

    def list_recurring_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        """A page: `recurring_runs` (or None) and `next_page_token`."""

    def create_recurring_run(self, experiment_id: str, job_name: str, **arguments: Any) -> Any:
        """Creates a recurring run; it has a `recurring_run_id`."""

    def disable_recurring_run(self, recurring_run_id: str) -> Any:
        """Pauses a recurring run."""

    def delete_recurring_run(self, recurring_run_id: str) -> Any:
        """Deletes a recurring run."""

    def list_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        """A page: `runs` (or None), each with `recurring_run_id` and `state`, and `next_page_token`."""


def command(*, apply: bool = False, host: str | None = None, file: Path | None = None) -> str:
    """The output of `mer schedule`. Without a host, the file; with one, the differences, which `apply` removes.

    Raises:
        ConfigError: the file is wrong, or `apply` was given without a host.
        UnavailableError: the server does not answer.
    """
    path = file or find_root() / FILE
    desired = read(path)
    if host is None:
        if apply:
            raise ConfigError(
                "a server is needed", where="--apply", remedy="Add --host with the address of Kubeflow Pipelines"
            )
        return "\n".join(describe(schedule) for schedule in desired.schedules) or "No recurring runs."
    try:
        return reconcile(_connect(host), desired, _package, apply=apply)
    except (ConfigError, UnavailableError):
        raise
    except Exception as error:  # the client raises urllib3's, its own and bare errors alike
        raise UnavailableError("Kubeflow Pipelines does not answer", where=host, seen=str(error)) from error


def read(path: Path) -> Schedules:
    """The desired state. Raises ConfigError: the file is missing, is not YAML, or has an unknown key."""
    try:
        return Schedules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError("cannot read the schedules", where=str(path), seen=str(error)) from error
    except ValidationError as error:
        raise section_error(error, Schedules, where=path.name) from error


def describe(schedule: Schedule) -> str:
    """One line about a recurring run."""
    state = "enabled" if schedule.enabled else "paused"
    missed = "missed runs are skipped" if schedule.no_catchup else "missed runs are caught up"
    return f"{schedule.name}: cron {schedule.cron!r}, at most {schedule.max_concurrency} at once, {missed}, {state}"


def reconcile(
    client: Client,
    desired: Schedules,
    package: Callable[[], Path],
    *,
    apply: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Compares, and with `apply` makes the server's recurring runs equal the file; returns a report.

    Args:
        client: a Kubeflow Pipelines client.
        desired: the desired state.
        package: compiles the pipeline and returns the file; called once.
        apply: whether to change anything.
        sleep: waits between two checks of a run that has to finish.

    Raises:
        UnavailableError: a paused recurring run's last run did not finish in time; nothing was deleted.
    """
    experiment_id = client.create_experiment(desired.experiment).experiment_id
    compiled = package()
    changes = differences(stamped(desired, compiled), actual(client, desired.prefix, experiment_id))
    if not changes:
        return f"{len(desired.schedules)} recurring runs are as they should be."
    if apply:
        for change in changes:
            _carry_out(client, change, experiment_id, compiled, sleep)
    return "\n".join(f"{'done' if apply else 'would'}: {change}" for change in changes)


def stamped(desired: Schedules, package: Path) -> Schedules:
    """The schedules with the compiled pipeline's hash in their descriptions.

    The server returns a pipeline in a different form from the submitted one, so a change is detected by its hash.
    """
    sha256 = file_sha256(package)[:12]
    schedules = tuple(
        schedule.model_copy(update={"description": f"{schedule.description} [pipeline {sha256}]"})
        for schedule in desired.schedules
    )
    return desired.model_copy(update={"schedules": schedules})


def actual(client: Client, prefix: str, experiment_id: str) -> list[RecurringRun]:
    """The server's recurring runs whose names start with the prefix."""
    listed = _pages(client.list_recurring_runs, "recurring_runs", experiment_id)
    return [_actual(run) for run in listed if (run.display_name or "").startswith(prefix)]


def differences(desired: Schedules, existing: Sequence[RecurringRun]) -> list[ScheduleChange]:
    """The changes that make the states equal, by name. A pure function of both.

    An interrupted replacement leaves several recurring runs of one name; they are replaced by one.
    """
    changes = []
    names = {schedule.name for schedule in desired.schedules}
    for schedule in desired.schedules:
        same = tuple(run for run in existing if run.schedule.name == schedule.name)
        if not same:
            changes.append(ScheduleChange(kind="create", name=schedule.name, desired=schedule))
            continue
        why = _why(schedule, same)
        if why:
            changes.append(ScheduleChange(kind="replace", name=schedule.name, why=why, desired=schedule, old=same))
    for name in sorted({run.schedule.name for run in existing} - names):
        old = tuple(run for run in existing if run.schedule.name == name)
        changes.append(ScheduleChange(kind="delete", name=name, why=("not in the file",), old=old))
    return changes


def _why(schedule: Schedule, same: Sequence[RecurringRun]) -> tuple[str, ...]:
    if len(same) > 1:
        return (f"{len(same)} of this name",)
    before, after = same[0].schedule.model_dump(), schedule.model_dump()
    return tuple(f"{key} {before[key]!r} -> {value!r}" for key, value in after.items() if before[key] != value)


def _actual(run: Any) -> RecurringRun:
    cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
    return RecurringRun(
        recurring_run_id=run.recurring_run_id,
        experiment_id=run.experiment_id,
        # A schedule of the server need not be valid here (a periodic trigger has no cron): it is only compared.
        schedule=Schedule.model_construct(
            name=run.display_name,
            description=run.description or "",
            cron=cron,
            max_concurrency=int(run.max_concurrency or 0),
            no_catchup=bool(run.no_catchup),
            enabled=run.status == "ENABLED",
        ),
    )


def _carry_out(
    client: Client, change: ScheduleChange, experiment_id: str, package: Path, sleep: Callable[[float], None]
) -> None:
    for old in change.old:
        client.disable_recurring_run(old.recurring_run_id)
    for old in change.old:
        _wait_for_its_run(client, old, sleep)
    if change.desired is not None:
        client.create_recurring_run(
            experiment_id,
            change.desired.name,
            description=change.desired.description,
            cron_expression=change.desired.cron,
            max_concurrency=change.desired.max_concurrency,
            no_catchup=change.desired.no_catchup,
            enabled=change.desired.enabled,
            enable_caching=False,
            pipeline_package_path=str(package),
        )
    for old in change.old:
        client.delete_recurring_run(old.recurring_run_id)


def _wait_for_its_run(client: Client, old: RecurringRun, sleep: Callable[[float], None]) -> None:
    waited_s = 0.0
    while True:
        runs = _pages(client.list_runs, "runs", old.experiment_id)
        if all(run.state in FINISHED for run in runs if run.recurring_run_id == old.recurring_run_id):
            return
        if waited_s >= LONGEST_RUN_S:
            raise UnavailableError(
                "its last run does not finish; it stays paused and nothing was deleted",
                where=f"recurring run {old.schedule.name}",
                remedy="End that run in Kubeflow, then apply again",
            )
        sleep(POLL_S)
        waited_s += POLL_S


def _pages(call: Callable[..., Any], field: str, experiment_id: str) -> list[Any]:
    items: list[Any] = []
    token = ""
    while True:
        page = call(page_token=token, page_size=PAGE, experiment_id=experiment_id)
        items += getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return items


def _connect(host: str) -> Client:
    from kfp.client import Client as KfpClient

    return KfpClient(host=host)


def _package() -> Path:
    from pipelines.kubeflow import retrain

    root = find_root()
    path = root / ".mer" / "kfp" / f"{retrain.PIPELINE}.yaml"
    retrain.compile_to(path, root)
    return path
