"""The units for machines without Kubernetes: systemd understands them, and `mer` the commands in them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from pipelines import cli
from tests.pipelines.projects import ROOT

UNITS = sorted((ROOT / "infra" / "systemd").iterdir())
MER = "/srv/mer/.venv/bin/mer"


def verified(folder: Path, state: Path) -> str:
    """What systemd says about the units of a folder."""
    command = ["systemd-analyze", "verify", "--user", "--man=no", *map(str, sorted(folder.iterdir()))]
    variables = {**os.environ, "XDG_RUNTIME_DIR": str(state)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables).stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_knows_every_line_and_notices_a_typo(tmp_path: Path) -> None:
    folder, state = tmp_path / "units", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    for unit in UNITS:
        text = unit.read_text().replace(MER, "/bin/true").replace("=/srv/mer\n", f"={ROOT}\n")
        (folder / unit.name).write_text(text)
    assert verified(folder, state) == ""
    timer = folder / "mer-retrain.timer"
    timer.write_text(timer.read_text().replace("OnCalendar", "OnCalender"))
    assert "OnCalender" in verified(folder, state)


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_the_commands_exist(unit: Path) -> None:
    (line,) = (line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    program, *words = shlex.split(line.removeprefix("ExecStart="))
    assert program == MER
    command = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("mer", words)  # parsed, not run
