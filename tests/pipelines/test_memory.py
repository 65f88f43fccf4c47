from __future__ import annotations

import os
import subprocess
import sys

from pipelines.memory import PeakMemory, tree_bytes

HELD = 200 << 20


def test_children_count() -> None:
    before = tree_bytes(os.getpid())
    code = f"held = bytearray({HELD}); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with PeakMemory(every_s=0.05) as memory:
            during = tree_bytes(os.getpid())
        child.communicate(b"\n")
    assert during - before > HELD * 0.9
    assert memory.peak_bytes > HELD * 0.9


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert tree_bytes(child.pid) == 0
