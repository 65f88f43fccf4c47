"""`make stack` itself, with the real parts; `pytest -m bench`, minutes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipelines.stack import postgres
from tests.pipelines.projects import ROOT
from tests.short_folder import short_folder

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
needs_postgres = pytest.mark.skipif(postgres.missing() is not None, reason=postgres.REMEDY)
COMMAND = [sys.executable, "-m", "pipelines.stack.run"]
SECRET = re.compile(r"\b[0-9a-f]{64}\b|\bmer_[\w-]{20,}")


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The command; whatever happens, nothing of it is left by this test."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def of_stack(folder: Path) -> list[str]:
    """The command lines of processes that name the folder of a stack."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@needs_postgres
def test_the_main_job_runs_on_the_real_parts_and_nothing_is_left(folder: Path) -> None:
    with started(folder) as process:
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    for part in ("postgres", "s3", "mlflow", "ray", "reconciler"):
        assert re.search(rf"{part}: up after \d+ s", said), said
    for step in ("run", "sign", "promote", "push"):
        assert f"{step}: done after" in said, said
    assert re.search(r"served: version \d+ judged \S+ as \w+", said), said
    assert not SECRET.search(said)
    assert of_stack(folder) == []
    assert list(folder.iterdir()) == []


@needs_postgres
@pytest.mark.parametrize(
    ("after", "seconds"),
    [("postgres: up", 1.0), ("mlflow: up", 1.0), ("ray: up", 1.0), ("reconciler: up", 30.0), ("run: done", 1.0)],
    ids=lambda value: str(value).replace(": ", " "),
)
def test_an_interrupt_leaves_nothing(folder: Path, after: str, seconds: float) -> None:
    """While parts start, in the main job (where stages run on Ray), and while its version is signed."""
    with started(folder) as process:
        assert process.stderr is not None
        assert any(after in line for line in process.stderr)
        time.sleep(seconds)
    assert process.returncode == 130
    assert of_stack(folder) == []
    assert list(folder.iterdir()) == []
