from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import lease
from pipelines.repro import BUSY, LEASE_VARIABLE
from tests.namespaces import own_pid_namespace
from tests.small_disk import small_disk

pytestmark = pytest.mark.integration

LINE = "stages:\n  catalog:\n    cmd: {command}\n    outs:\n      - data/catalog\n"


def reproduce(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    (root / "dvc.yaml").write_text(LINE.format(command=command))
    call = [sys.executable, "-m", "pipelines.dvc_quietly", "repro"]
    return subprocess.run(call, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def project(project_with_code: Path) -> Path:
    """DVC compares the code, too."""
    return project_with_code


def test_it_names_the_stage_that_runs_and_gives_no_advice(project: Path) -> None:
    command = "mkdir -p data/catalog && touch data/catalog/rows"
    done = reproduce(project, command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["Running stage 'catalog':", f"> {command}", ""]
    assert (project / "dvc.lock").is_file()


def test_errors_and_the_output_of_a_stage_are_passed_on(project: Path) -> None:
    done = reproduce(project, "sh -c 'echo the cause >&2; exit 3'")
    assert done.returncode == 3
    assert "the cause" in done.stderr
    assert "failed to reproduce 'catalog'" in done.stderr
    assert "exited with 3" in done.stderr


def test_a_stage_of_the_table_says_and_ends_as_it_does_alone(project: Path) -> None:
    done = reproduce(project, "mer catalog")
    alone = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "catalog"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == alone.returncode == 3
    assert alone.stderr.strip() in done.stderr
    assert "exited with 3" in done.stderr


def test_a_broken_dvc_yaml_is_an_error(project: Path) -> None:
    done = reproduce(project, "x\n    nonsense: 1")
    assert done.returncode != 0
    assert "dvc.yaml" in done.stderr


def test_a_cache_without_room_is_said_in_one_line_and_the_next_run_goes_on(project: Path) -> None:
    command = "mkdir -p data/catalog && head -c 1000000 /dev/urandom > data/catalog/rows"
    with small_disk(project / ".dvc" / "cache", kib=256):
        done = reproduce(project, command)
        assert done.returncode == 7, done.stderr
        assert "the disk is full" in done.stderr
        assert str(project / ".dvc" / "cache") in done.stderr
        assert "dvc.org" not in done.stderr
        assert "Traceback" not in done.stderr
    assert reproduce(project, command).returncode == 0


def shared(root: Path, *before: str) -> subprocess.Popen[str]:
    """`mer run --only` of the stage as a task of the pipeline starts it, in a PID namespace of its own."""
    quietly = [sys.executable, "-m", "pipelines.dvc_quietly"]
    call = [*before, *quietly, "--wait-for-lock", "repro", "--single-item", "catalog"]
    environment = {**os.environ, LEASE_VARIABLE: "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(call, cwd=root, env=environment, text=True, stdout=pipe, stderr=subprocess.STDOUT)


def test_two_containers_do_not_run_one_stage_at_once(project: Path) -> None:
    """DVC would take the other's lock for that of a dead process: the two number their processes alike."""
    apart = own_pid_namespace()
    work = "mkdir -p data/catalog; date > data/catalog/a"
    command = f"sh -c 'echo started >> started; while [ ! -e go ]; do sleep 0.1; done; {work}'"
    (project / "dvc.yaml").write_text(LINE.format(command=command))
    first = shared(project, *apart)
    while not (project / "started").exists():
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.1)
    second = shared(project, *apart)
    said = second.communicate()[0]
    assert second.returncode == BUSY, said
    (project / "go").touch()
    assert first.wait() == 0, first.communicate()[0]
    assert (project / "started").read_text() == "started\n"
    assert list((project / lease.FOLDER).iterdir()) == []
