from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import WATCH
from tests.tiers import group_and_order, heavy_program, is_light

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


def test_files_that_use_the_ray_of_the_session_run_together_and_first() -> None:
    class Test:
        def __init__(self, nodeid: str, *fixturenames: str) -> None:
            self.nodeid, self.fixturenames = nodeid, list(fixturenames)
            self.groups: list[str] = []

        def add_marker(self, mark: pytest.MarkDecorator) -> None:
            self.groups += mark.args

    tests = [Test("a.py::one"), Test("b.py::one"), Test("b.py::two", "ray_session"), Test("c.py::one", "ray_session")]
    group_and_order(tests, distributed=True)  # type: ignore[arg-type]
    assert [(test.nodeid, *test.groups) for test in tests] == [
        ("b.py::one", "ray"),
        ("b.py::two", "ray"),
        ("c.py::one", "ray"),
        ("a.py::one", "a.py"),
    ]
