"""Commands in a PID namespace of their own, like containers on one machine."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

OWN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


@cache
def _allowed() -> bool:
    if shutil.which(OWN_NAMESPACE[0]) is None:
        return False
    return subprocess.run([*OWN_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


def own_pid_namespace() -> tuple[str, ...]:
    """The beginning of such a command; skips the test where the machine does not allow it."""
    if not _allowed():
        pytest.skip("this machine allows no PID namespace of one's own (unshare --user --pid)")
    return OWN_NAMESPACE
