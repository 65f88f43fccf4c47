from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.runtime.own_folder import OwnFolder

KILLED = """
import os, signal
from components.runtime.own_folder import OwnFolder
own = OwnFolder("mine-")
(own.path / "clip").write_bytes(b"x")
print(own.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "other").mkdir()
    living = OwnFolder("mine-")
    (living.path / "clip").write_bytes(b"x")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    left = Path(ended.stdout.strip())
    assert (left / "clip").exists()
    following = OwnFolder("mine-")
    assert not left.exists()
    assert (living.path / "clip").exists()
    for own in (living, following):
        own.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
