from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.lease import FIRST_TOKEN, Lease, alive
from tests.namespaces import own_pid_namespace

BEAT_S, EXPIRY_S = 0.05, 0.5

HOLDER = """
import os, sys, time
from pathlib import Path
from pipelines.lease import Lease
def lost():
    print("lost", flush=True)
    os._exit(3)
with Lease(Path(sys.argv[1]), lost, beat_s=0.05, expiry_s=0.5) as lease:
    print(lease.token, os.getpid(), flush=True)
    time.sleep(60)
"""


def holder(folder: Path, *before: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds a lease, and its token."""
    command = [*before, sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    token, _, pid = process.stdout.readline().partition(" ")
    assert not before or int(pid) < 10  # it numbers its processes anew
    return process, int(token)


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def lives(folder: Path, token: int) -> bool:
    return alive(folder, token, expiry_s=EXPIRY_S)


def test_tokens_differ_grow_and_end_with_the_lease(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        with Lease(tmp_path) as lease:
            assert lease.held
            assert alive(tmp_path, lease.token)
            tokens.append(lease.token)
        assert not alive(tmp_path, lease.token)
    assert tokens == sorted(set(tokens))
    assert tokens[0] >= FIRST_TOKEN
    assert list(tmp_path.iterdir()) == []


def test_a_crash_in_this_namespace_shows_at_once(tmp_path: Path) -> None:
    process, token = holder(tmp_path)
    assert lives(tmp_path, token)
    process.kill()
    process.communicate()
    assert not alive(tmp_path, token)  # before it expires


def test_a_holder_in_a_different_namespace_lives_while_its_heart_beats(tmp_path: Path) -> None:
    """A process id says nothing there: the same number is a different process here, or none."""
    process, token = holder(tmp_path, *own_pid_namespace())
    with process:
        time.sleep(2 * EXPIRY_S)
        assert lives(tmp_path, token)
        process.kill()
    eventually(lambda: not lives(tmp_path, token))


def test_a_holder_that_was_only_paused_finds_out_and_stops(tmp_path: Path) -> None:
    process, token = holder(tmp_path, *own_pid_namespace())
    (inside,) = (int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    os.kill(inside, signal.SIGSTOP)
    eventually(lambda: not lives(tmp_path, token))
    with Lease(tmp_path) as successor:
        assert successor.token > token
        os.kill(inside, signal.SIGCONT)
        assert process.communicate()[0] == "lost\n"
        assert process.returncode == 3
        assert successor.held


def test_a_storage_that_does_not_answer_counts_as_lost_before_others_take_over(tmp_path: Path) -> None:
    folder, away, lost = tmp_path / "leases", tmp_path / "away", threading.Event()
    with Lease(folder, lost.set, beat_s=BEAT_S, expiry_s=EXPIRY_S):
        folder.rename(away)
        folder.touch()  # a file in its place: touching what is in it fails, though it is not missing
        assert lost.wait(5)
        folder.unlink()
        away.rename(folder)
