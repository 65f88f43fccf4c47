"""Ctrl-C at any moment of a real `mer serve`: nothing of it is left."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.runtime.own_folder import OwnFolder
from pipelines.start import INTERRUPTED
from tests.pipelines.test_start import PROGRAM

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
MOMENTS = 12
READY_S, ENDS_S = 300.0, 120.0
MARK = "MER_TEST_MARK"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a path short enough for Ray's sockets."""
    folder = OwnFolder("m-")
    (folder.path / "t").mkdir()
    yield folder.path / "t"
    folder.remove()


class Serve:
    """A `mer serve` in a session of its own, as a terminal starts it."""

    def __init__(self, project: Path, temporary: Path) -> None:
        self.mark, self.log, self.temporary = uuid.uuid4().hex, project / "serve.log", temporary
        self.project = project
        variables = {**os.environ, MARK: self.mark, "TMPDIR": str(temporary)}
        variables.pop("RAY_ADDRESS", None)
        command = [sys.executable, "-c", PROGRAM, "serve", "--port", "0", "--mlflow-port", "0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=project, env=variables, stdout=log, stderr=log, start_new_session=True
            )

    def interrupt(self) -> None:
        """As a terminal does: to all of its processes."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left(self) -> list[str]:
        """What there still is of it."""
        processes = []
        for process in psutil.process_iter():
            try:
                # Ray's workers overwrite their environment with their title.
                if process.environ().get(MARK) == self.mark or process.cwd() == str(self.project):
                    processes.append(" ".join(process.cmdline())[:100])
            except psutil.Error:
                continue
        return [*processes, *map(str, self.temporary.iterdir())]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has trained nothing yet."""
    root = Path(__file__).resolve().parents[4]
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def start_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the service takes until it answers here; it is interrupted then."""
    root = Path(__file__).resolve().parents[4]
    project = tmp_path_factory.mktemp("first")
    for name in ("params.yaml", "dvc.yaml"):
        (project / name).write_bytes((root / name).read_bytes())
    folder = OwnFolder("m-")
    (folder.path / "t").mkdir()
    begun = time.monotonic()
    service = Serve(project, folder.path / "t")
    while "Ctrl-C stops everything" not in service.log.read_text():
        assert service.process.poll() is None, service.log.read_text()
        assert time.monotonic() < begun + READY_S, service.log.read_text()
        time.sleep(0.2)
    taken_s = time.monotonic() - begun
    assert any("mer-uploads-" in str(path) for path in folder.path.rglob("*"))
    service.interrupt()
    assert service.process.wait(ENDS_S) == 0
    assert service.left() == []
    assert "Stopping" in service.log.read_text()
    folder.remove()
    return taken_s


@pytest.mark.parametrize("number", range(MOMENTS))
def test_an_interrupt_at_a_random_moment_leaves_nothing(
    number: int, start_s: float, project: Path, temporary: Path
) -> None:
    """Of every third service the user is impatient, too."""
    moment_s = random.Random(number).uniform(0.3, start_s)
    service = Serve(project, temporary)
    time.sleep(moment_s)
    service.interrupt()
    if number % 3 == 0:
        time.sleep(0.7)
        if service.process.poll() is None:
            service.interrupt()
    status = service.process.wait(ENDS_S)
    shown = service.log.read_text()
    assert status in ({INTERRUPTED, 0} if "Ctrl-C stops everything" in shown else {INTERRUPTED}), (moment_s, shown)
    assert status == 0 or re.search(r"\nInterrupted\.", shown), (moment_s, shown)
    assert "Traceback" not in shown
    assert service.left() == []
