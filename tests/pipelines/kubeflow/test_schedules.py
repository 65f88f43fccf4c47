from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.kubeflow import schedule, schedules
from tests.pipelines.projects import ROOT

FILE = ROOT / schedules.FILE
ONE = "prefix: m-\nexperiment: e\nschedules: [{name: m-a, cron: '0 0 2 * * *'"


def test_the_committed_file() -> None:
    committed = schedules.read(FILE)
    assert committed.schedules
    assert all(entry.max_concurrency == 1 and entry.no_catchup for entry in committed.schedules)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefix: m-\nexperiment: e\nschedules: [{name: m-a, cron: '0 2 * * *'}]", "six fields"),
        (f"{ONE}, paused: true}}]", "unknown key"),
        (f"{ONE}}}, {{name: m-a, cron: '0 0 2 * * *'}}]", "twice"),
        (f"{ONE.replace('m-a', 'a')}}}]", "must start with the prefix 'm-'"),
        (f"time_zone: Europe/Berln\n{ONE}}}]", "IANA"),
        (f"{ONE}, settings: [train.epochs]}}]", "train.epochs"),
        ("prefix: ''\nexperiment: e", "at least 1 character"),
        ("[", "cannot read"),
    ],
)
def test_a_wrong_file_is_a_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        schedules.read(path)


def test_without_a_server_the_file_is_printed(tmp_path: Path) -> None:
    assert "mer-nightly: cron '0 0 2 * * *' in UTC, at most 1 at once" in schedule.printed(FILE)
    path = tmp_path / "schedules.yaml"
    path.write_text(f"time_zone: Europe/Berlin\n{ONE}, stages: [features], enabled: false}}]")
    assert schedule.printed(path).endswith(
        "in Europe/Berlin, at most 1 at once, missed runs are skipped, stages features, paused"
    )


NODES = [
    dag.Node(address=address, command="", description="", deps=(), outs=(), params={}, upstream=upstream)
    for address, upstream in {
        "inputs": (),
        "datasets@a": ("inputs",),
        "datasets@b": ("inputs",),
        "features@a": ("datasets@a",),
        "features@b": ("datasets@b",),
        "catalog": ("features@a", "features@b"),
    }.items()
]


@pytest.mark.parametrize(
    ("stages", "datasets", "expected"),
    [
        ((), (), ""),
        (("features",), (), "inputs datasets@a datasets@b features@a features@b"),
        (("features@a",), (), "inputs datasets@a features@a"),
        (("features",), ("b",), "inputs datasets@b features@b"),
        ((), ("a",), "datasets@a features@a"),
    ],
)
def test_a_run_is_limited_to_stages_and_datasets(
    stages: tuple[str, ...], datasets: tuple[str, ...], expected: str
) -> None:
    assert " ".join(schedule.selected(NODES, stages, datasets)) == expected


def test_a_stage_or_dataset_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'features'"):
        schedule.selected(NODES, ("featurs",), ())
    with pytest.raises(ConfigError, match="'ab'"):
        schedule.selected(NODES, (), ("ab",))
