from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_disk import small_disk

pytestmark = pytest.mark.integration

LINE = "stages:\n  catalog:\n    cmd: {command}\n    outs:\n      - data/catalog\n"


def reproduce(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    (root / "dvc.yaml").write_text(LINE.format(command=command))
    call = [sys.executable, "-m", "pipelines.dvc_quietly", "repro"]
    return subprocess.run(call, cwd=root, capture_output=True, text=True, check=False)


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
