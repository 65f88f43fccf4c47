"""`infra/schedules.yaml`: the desired recurring runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from components.contracts.config import Section, section_error
from components.contracts.errors import ConfigError
from pipelines.edit_params import parse

FILE = Path("infra") / "schedules.yaml"
CRON_FIELDS = 6


class Schedule(Section):
    """The desired state of one recurring run."""

    name: str
    """Name of the recurring run. It starts with the file's `prefix`, by which the server's runs are recognised as the
    file's."""

    description: str = ""
    """Its purpose."""

    cron: str
    """When it runs, in six fields: second minute hour day month weekday, in the file's `time_zone`."""

    max_concurrency: int = Field(1, ge=1, le=10)
    """The most runs of it at a time; 1: a run that is due waits for the one before it."""

    no_catchup: bool = True
    """Whether missed runs are skipped; false catches up on all of them."""

    enabled: bool = True
    """Whether it runs; false pauses it."""

    stages: tuple[str, ...] = ()
    """Only these stages and the ones they need, by name or address; empty: all."""

    datasets: tuple[str, ...] = ()
    """Of the stages that run once per dataset, only those of these datasets; empty: all."""

    settings: tuple[str, ...] = ()
    """Values that are written into `params.yaml` first, each `KEY=VALUE` as for `mer run --set`."""

    @field_validator("cron")
    @classmethod
    def _six_fields(cls, cron: str) -> str:
        if len(cron.split()) != CRON_FIELDS:
            raise ValueError("six fields: second minute hour day month weekday, for example '0 0 2 * * *'")
        return cron

    @field_validator("settings")
    @classmethod
    def _assignments(cls, settings: tuple[str, ...]) -> tuple[str, ...]:
        for assignment in settings:
            try:
                parse(assignment)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return settings


class Schedules(Section):
    """`infra/schedules.yaml`."""

    prefix: str = Field(min_length=1)
    """Recurring runs on the server whose names start with this are the file's: those not listed in it are deleted."""

    experiment: str
    """Name of the experiment in Kubeflow Pipelines."""

    time_zone: str = "UTC"
    """The zone in which the server reads `cron`. Kubeflow Pipelines has one for all recurring runs, the variable
    CRON_SCHEDULE_TIMEZONE of its deployment `ml-pipeline-scheduledworkflow`; this states it and does not change it."""

    schedules: tuple[Schedule, ...] = ()
    """The recurring runs."""

    @field_validator("time_zone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("a zone of the IANA time zone database, for example Europe/Berlin") from error
        return name

    @field_validator("schedules")
    @classmethod
    def _once(cls, schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
        names = [schedule.name for schedule in schedules]
        if len(set(names)) != len(names):
            raise ValueError("a name occurs twice")
        return schedules

    @model_validator(mode="after")
    def _prefixed(self) -> Self:
        others = [schedule.name for schedule in self.schedules if not schedule.name.startswith(self.prefix)]
        if others:  # it would not be recognised on the server, and be created again each time
            raise ValueError(f"{', '.join(others)}: a name must start with the prefix {self.prefix!r}")
        return self


def read(path: Path) -> Schedules:
    """The desired state. Raises ConfigError: the file is missing, is not YAML, or has an unknown key."""
    try:
        return Schedules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError("cannot read the schedules", where=str(path), seen=str(error)) from error
    except ValidationError as error:
        raise section_error(error, Schedules, where=path.name) from error


def named(desired: Schedules, name: str) -> Schedule:
    """The schedule of a name. Raises ConfigError with the nearest name: the file has none."""
    for schedule in desired.schedules:
        if schedule.name == name:
            return schedule
    raise ConfigError.unknown("schedule", name, [schedule.name for schedule in desired.schedules], where=str(FILE))


def describe(desired: Schedules) -> str:
    """One line per recurring run."""
    return "\n".join(_line(schedule, desired.time_zone) for schedule in desired.schedules) or "No recurring runs."


def _line(schedule: Schedule, zone: str) -> str:
    parts = [
        f"{schedule.name}: cron {schedule.cron!r} in {zone}",
        f"at most {schedule.max_concurrency} at once",
        "missed runs are skipped" if schedule.no_catchup else "missed runs are caught up",
        *_limits("stages", schedule.stages),
        *_limits("datasets", schedule.datasets),
        *_limits("set", schedule.settings),
        "enabled" if schedule.enabled else "paused",
    ]
    return ", ".join(parts)


def _limits(name: str, values: Sequence[str]) -> list[str]:
    return [f"{name} {' '.join(values)}"] if values else []
