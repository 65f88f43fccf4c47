"""What is left of a process and its children, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from pipelines.commands.service.janitor import SCRATCH, nothing_left

# Starts an orphan in a session of its own, says its id and its folder, and goes on.
ORPHAN = "setsid sleep 600 >/dev/null 2>&1 & echo $! $TMPDIR"
SERVICE = f"""
import subprocess, time
from pipelines.commands.service.janitor import nothing_left
with nothing_left():
    print(subprocess.run(["sh", "-c", {ORPHAN!r}], capture_output=True, text=True).stdout, flush=True)
    time.sleep(600)
"""


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_no_orphan_and_no_temporary_file_is_left_after_an_interrupt() -> None:
    before, handler = tempfile.gettempdir(), signal.getsignal(signal.SIGINT)
    orphans: list[psutil.Process] = []
    folders: list[Path] = []

    def interrupted() -> None:
        shown = subprocess.run(["sh", "-c", ORPHAN], capture_output=True, text=True, check=True).stdout.split()
        orphans.append(psutil.Process(int(shown[0])))
        folders.append(Path(tempfile.mkdtemp()))
        assert Path(shown[1]) == folders[0].parent
        assert folders[0].parent.name.startswith(SCRATCH)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), nothing_left():
        interrupted()
    assert ended(orphans[0])
    assert not folders[0].parent.exists()
    assert tempfile.gettempdir() == before
    assert signal.getsignal(signal.SIGINT) is handler
    assert [child for child in psutil.Process().children() if "janitor" in " ".join(child.cmdline())] == []


def test_nothing_is_left_of_a_process_that_was_killed_outright() -> None:
    root = Path(__file__).resolve().parents[4]
    variables = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True, env=variables) as service:
        assert service.stdout is not None
        number, folder = service.stdout.readline().split()
        orphan = psutil.Process(int(number))
        assert Path(folder).is_dir()
        service.kill()
    deadline = time.monotonic() + 30
    while not ended(orphan) or Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
