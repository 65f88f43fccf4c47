"""Commands in namespaces of their own, like containers on one machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.contracts.atomic import read_json

PROJECT = Path(__file__).resolve().parents[1]

OWN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
# Interfaces, mounts and processes below end with the command.
OWN_NETWORK = (*OWN_NAMESPACE, "--net", "--mount")
# What a test of several nodes does first.
BRIDGE = ("sh", "-c", "mount -t tmpfs none /run && ip link add bridge0 type bridge && ip netns add one")


@cache
def _allowed(command: tuple[str, ...]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def own_pid_namespace() -> tuple[str, ...]:
    """The beginning of such a command; skips the test where the machine does not allow it."""
    if not _allowed((*OWN_NAMESPACE, "true")):
        pytest.skip("this machine allows no PID namespace of one's own (unshare --user --pid)")
    return OWN_NAMESPACE


def own_network() -> tuple[str, ...]:
    """The beginning of a command whose networks, mounts and processes end with it; skips the test where the machine
    does not allow it."""
    if shutil.which("ip") is None:
        pytest.skip("this machine has no `ip` (Debian's package iproute2)")
    if not _allowed((*OWN_NETWORK, *BRIDGE)):
        pytest.skip("this machine allows no network of one's own (unshare --user --net --mount, ip link, ip netns)")
    return OWN_NETWORK


def seen_in_own_network(module: str, file: Path) -> dict[str, Any]:
    """What a module of several nodes saw: run by itself as in `own_network`, it writes that as JSON into the file."""
    done = subprocess.run(
        [*own_network(), sys.executable, "-m", module, str(file)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert file.is_file(), done.stderr[-5000:]
    return dict(read_json(file))
