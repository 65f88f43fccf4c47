"""The recurring runs of `infra/schedules.yaml` on a Kubeflow Pipelines server: what differs, and making it so.

The file is the desired state, and the pipeline is uploaded as a version named after its hash. A recurring run cannot be
changed once it exists, only paused and resumed, so one that differs is replaced: the old one is paused, the new one is
created, the old one is deleted. Deleting it would end a run of it that is under way; while there is one the old
recurring run is left paused, and the next `apply` deletes it. Nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.fingerprint import file_sha256
from pipelines.kubeflow.place import Place
from pipelines.kubeflow.schedules import Schedule, Schedules
from pipelines.retraining.decide import Decision

ENABLED = "enabled"
# KFP's states of a run that is over; in every other state it is running or waiting.
FINISHED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})

Facts = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: the file.
        parameters: the values of the pipeline's parameters for a schedule.
    """

    path: Path
    parameters: Callable[[Schedule], Facts]

    @property
    def version(self) -> str:
        """The name of its version on the server. The server returns a pipeline in a different form from the submitted
        one, so a change is detected by the hash of the file."""
        return file_sha256(self.path)[:12]


@dataclass(frozen=True, kw_only=True)
class RecurringRun:
    """One recurring run on the server: its id, and the facts that are compared."""

    recurring_run_id: str
    name: str
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class ScheduleChange:
    """One change.

    Attributes:
        kind: create, replace, pause, resume or delete.
        name: of the recurring run.
        why: the differences.
        desired: what is created, if anything.
        old: the recurring runs that it is about.
    """

    kind: str
    name: str
    why: tuple[str, ...] = ()
    desired: Schedule | None = None
    old: tuple[RecurringRun, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f": {'; '.join(self.why)}" if self.why else "")


def diff(place: Place, desired: Schedules, package: Package) -> str:
    """The differences between the file and the server. Changes nothing there."""
    lines = [f"would: {change}" for change in _changes(place, desired, package)]
    return "\n".join(lines) or _same(desired)


def apply(place: Place, desired: Schedules, package: Package) -> str:
    """Makes the server's recurring runs equal the file; returns a report. Never waits for a run."""
    changes = _changes(place, desired, package)
    if not changes:
        return _same(desired)
    experiment_id = place.made_experiment_id(desired.experiment)
    carry_out = _Apply(place=place, experiment_id=experiment_id, package=package)
    return "\n".join(carry_out(change) for change in changes)


def listing(place: Place, desired: Schedules) -> str:
    """One line per recurring run of the file's prefix on the server."""
    runs = actual(place, desired)
    lines = (f"{run.name}: {', '.join(f'{key} {value!r}' for key, value in run.facts.items())}" for run in runs)
    return "\n".join(lines) or f"The server has no recurring run whose name starts with {desired.prefix!r}."


def switch(place: Place, desired: Schedules, name: str, *, on: bool) -> str:
    """Resumes or pauses the recurring runs of a name. Raises ConfigError: the server has none."""
    runs = [run for run in actual(place, desired) if run.name == name]
    if not runs:
        names = [run.name for run in actual(place, desired)]
        raise ConfigError.unknown("recurring run", name, names, where="the server")
    act = place.client.enable_recurring_run if on else place.client.disable_recurring_run
    for run in runs:
        act(run.recurring_run_id)
    return (
        f"{name}: {'resumed' if on else 'paused'}; infra/schedules.yaml decides again at the next `mer schedule apply`"
    )


def run_now(place: Place, desired: Schedules, schedule: Schedule, package: Package, decision: Decision) -> str:
    """Starts one run of the pipeline as a schedule would, but for the decision, which is made; returns its id.

    Raises:
        UnavailableError: a run of the experiment has not finished. Two would share one workspace.
    """
    experiment_id = place.made_experiment_id(desired.experiment)
    active = [run.run_id for run in place.runs(experiment_id) if run.state not in FINISHED]
    if active:
        raise UnavailableError(
            "a run has not finished",
            where=f"experiment {desired.experiment}",
            seen=", ".join(active),
            remedy="Wait for it, or terminate it in Kubeflow",
        )
    pipeline_id, version_id = place.uploaded(package.path, package.version)
    run = place.client.run_pipeline(
        experiment_id,
        f"{schedule.name}: {decision.title}",
        pipeline_id=pipeline_id,
        version_id=version_id,
        params={**package.parameters(schedule), "decision": decision.to_json()},
        enable_caching=False,
        service_account=place.service_account,
    )
    return f"started run {run.run_id}"


def actual(place: Place, desired: Schedules) -> list[RecurringRun]:
    """The server's recurring runs whose names start with the prefix."""
    experiment_id = place.experiment_id(desired.experiment)
    if experiment_id is None:
        return []
    versions = place.versions()
    runs = place.recurring_runs(experiment_id)
    return [_actual(run, versions) for run in runs if (run.display_name or "").startswith(desired.prefix)]


def differences(
    desired: Sequence[Schedule], facts: Mapping[str, Facts], existing: Sequence[RecurringRun]
) -> list[ScheduleChange]:
    """The changes that make the states equal, by name. A pure function of both.

    Args:
        desired: the file's schedules.
        facts: name → the facts that a recurring run should have.
        existing: those of the server. Several may have one name: an old one is left while its run goes on.
    """
    changes = [change for schedule in desired for change in _of_one(schedule, facts[schedule.name], existing)]
    names = {schedule.name for schedule in desired}
    for name in sorted({run.name for run in existing} - names):
        old = tuple(run for run in existing if run.name == name)
        changes.append(ScheduleChange(kind="delete", name=name, why=("not in the file",), old=old))
    return changes


def _of_one(schedule: Schedule, facts: Facts, existing: Sequence[RecurringRun]) -> Iterator[ScheduleChange]:
    name = schedule.name
    same = [run for run in existing if run.name == name]
    if not same:
        yield ScheduleChange(kind="create", name=name, desired=schedule)
        return
    nearest = min(same, key=lambda run: len(_why(run.facts, facts)))
    why = _why(nearest.facts, facts)
    rest = tuple(run for run in same if run is not nearest)
    if set(why) - {ENABLED}:
        words = tuple(why.values())
        yield ScheduleChange(kind="replace", name=name, why=words, desired=schedule, old=tuple(same))
        return
    if why:
        yield ScheduleChange(kind="resume" if schedule.enabled else "pause", name=name, old=(nearest,))
    if rest:
        yield ScheduleChange(kind="delete", name=name, why=("replaced earlier",), old=rest)


def _why(before: Facts, after: Facts) -> dict[str, str]:
    return {key: f"{key} {before.get(key)!r} -> {value!r}" for key, value in after.items() if before.get(key) != value}


def _facts(schedule: Schedule, package: Package) -> Facts:
    return {
        "description": schedule.description,
        "cron": schedule.cron,
        "max_concurrency": schedule.max_concurrency,
        "no_catchup": schedule.no_catchup,
        ENABLED: schedule.enabled,
        "pipeline": package.version,
        "parameters": dict(package.parameters(schedule)),
    }


def _actual(run: Any, versions: Mapping[str, str]) -> RecurringRun:
    reference = run.pipeline_version_reference
    version_id = str(reference.pipeline_version_id) if reference else ""
    config = run.runtime_config
    facts = {
        "description": run.description or "",
        "cron": run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else "",
        "max_concurrency": int(run.max_concurrency or 0),
        "no_catchup": bool(run.no_catchup),
        ENABLED: run.status == "ENABLED",
        "pipeline": versions.get(version_id, version_id),
        "parameters": dict(config.parameters or {}) if config else {},
    }
    return RecurringRun(recurring_run_id=run.recurring_run_id, name=run.display_name, facts=facts)


def _changes(place: Place, desired: Schedules, package: Package) -> list[ScheduleChange]:
    facts = {schedule.name: _facts(schedule, package) for schedule in desired.schedules}
    return differences(desired.schedules, facts, actual(place, desired))


def _same(desired: Schedules) -> str:
    return f"{len(desired.schedules)} recurring runs are as they should be."


@dataclass(frozen=True, kw_only=True)
class _Apply:
    """Carries out changes, each as one line of the report."""

    place: Place
    experiment_id: str
    package: Package

    def __call__(self, change: ScheduleChange) -> str:
        client = self.place.client
        if change.kind == "resume":
            for run in change.old:
                client.enable_recurring_run(run.recurring_run_id)
            return f"done: {change}"
        for run in change.old:
            client.disable_recurring_run(run.recurring_run_id)
        if change.desired is not None:
            self._create(change.desired)
        if change.kind == "pause":
            return f"done: {change}"
        waiting = [run for run in change.old if not self._deleted(run)]
        later = "; its last run has not finished: the old one is paused, and the next apply deletes it"
        return f"done: {change}" + (later if waiting else "")

    def _create(self, schedule: Schedule) -> None:
        pipeline_id, version_id = self.place.uploaded(self.package.path, self.package.version)
        self.place.client.create_recurring_run(
            self.experiment_id,
            schedule.name,
            description=schedule.description,
            cron_expression=schedule.cron,
            max_concurrency=schedule.max_concurrency,
            no_catchup=schedule.no_catchup,
            enabled=schedule.enabled,
            enable_caching=False,
            pipeline_id=pipeline_id,
            version_id=version_id,
            params=dict(self.package.parameters(schedule)),
            service_account=self.place.service_account,
        )

    def _deleted(self, old: RecurringRun) -> bool:
        runs = self.place.runs(self.experiment_id)
        if any(run.state not in FINISHED for run in runs if run.recurring_run_id == old.recurring_run_id):
            return False
        self.place.client.delete_recurring_run(old.recurring_run_id)
        return True
