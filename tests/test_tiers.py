from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import WATCH
from tests.tiers import (
    EVALUATION_GROUP,
    LONGEST,
    PROJECT_GROUP,
    RAY_FIXTURE,
    RAY_GROUP,
    ROOT,
    SHARED,
    SLOW,
    ends_group,
    group_of,
    heavy_program,
    is_light,
    longest_first,
)

REFUSED = pytest.fail.Exception


def test_a_light_test_that_starts_a_framework_fails(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert is_light(request.node)
    with pytest.raises(REFUSED, match="started dvc; mark it `integration`"), WATCH.over(request.node):
        subprocess.run([sys.executable, "-m", "dvc", "version"], check=False)
    with pytest.raises(REFUSED, match=r"started mlflow.db"), WATCH.over(request.node):
        sqlite3.connect(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()


def test_it_fails_where_the_refusal_was_caught_too(request: pytest.FixtureRequest) -> None:
    with pytest.raises(REFUSED, match="started raylet"), WATCH.over(request.node), suppress(REFUSED):
        subprocess.run(["/opt/ray/raylet", "--head"], check=False)


@pytest.mark.integration
def test_any_other_test_may(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert not is_light(request.node)
    with WATCH.over(request.node):
        sqlite3.connect(tmp_path / "mlflow.db").close()


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["python", "-m", "pipelines.cli", "run"], "pipelines.cli"),
        (["/env/bin/mer", "describe"], "mer"),
        ("/ray/core/src/ray/gcs/gcs_server --port=0", "gcs_server"),
        (["git", "add", "dvc.yaml"], None),
        ([b"python", Path("-c"), "print()"], None),
        (None, None),
    ],
)
def test_a_heavy_program_is_known_by_its_name(command: object, program: str | None) -> None:
    assert heavy_program(command) == program


def test_every_file_with_the_ray_of_the_session_is_in_one_group(request: pytest.FixtureRequest) -> None:
    tests = [item for item in request.session.items if RAY_FIXTURE in getattr(item, "fixturenames", ())]
    assert {group_of(item.nodeid.partition("::")[0]) for item in tests} <= {RAY_GROUP}
    files = ("features/test_stage.py", "rollout/test_under_load.py", "integration/test_battery.py")
    assert {group_of(f"tests/{file}") for file in files} == {RAY_GROUP}
    assert group_of("tests/contracts/test_errors.py") == "tests/contracts/test_errors.py"


def test_every_file_with_the_model_of_the_evaluation_is_in_one_group() -> None:
    files = ("evaluation/test_evaluate.py", "evaluation/pages/test_write.py", "ablation/test_answering.py")
    assert {group_of(f"tests/{file}") for file in files} == {EVALUATION_GROUP}


def test_every_file_with_the_evaluated_project_is_in_one_group() -> None:
    files = ("evaluation/test_stage.py", "registry/test_stage.py")
    assert {group_of(f"tests/{file}") for file in files} == {PROJECT_GROUP}


@dataclass(frozen=True)
class Test:
    """A test by its name."""

    __test__ = False
    nodeid: str


def test_a_group_ends_before_a_test_of_a_different_one_and_at_the_end() -> None:
    first, second = (Test(f"tests/{file}::test_it") for file in ("features/test_stage.py", "alignment/test_stage.py"))
    assert not ends_group(first, second)  # type: ignore[arg-type]
    assert ends_group(first, Test("tests/contracts/test_errors.py::test_it"))  # type: ignore[arg-type]
    assert ends_group(first, None)  # type: ignore[arg-type]


def test_the_longest_groups_come_first_and_whole() -> None:
    files = (
        "tests/contracts/test_errors.py",
        "tests/features/test_stage.py",
        LONGEST[-1],
        "tests/alignment/test_stage.py",
    )
    tests = [Test(f"{file}::test_{number}") for file in files for number in range(2)]
    longest_first(tests)  # type: ignore[arg-type]
    places = [group_of(test.nodeid.partition("::")[0]) for test in tests]
    assert places == [RAY_GROUP] * 4 + [LONGEST[-1]] * 2 + [files[0]] * 2


def test_what_is_listed_as_long_exists() -> None:
    assert [path for path in (*LONGEST, *SLOW) if path not in SHARED and not (ROOT / path).is_file()] == []


def test_a_test_of_a_file_that_is_listed_as_slow_is_marked(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        listed = item.nodeid.partition("::")[0] in SLOW
        assert not listed or item.get_closest_marker("slow")
    assert request.node.get_closest_marker("slow") is None
