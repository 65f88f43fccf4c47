"""One Ray for a whole `mer run`: started once, found by every stage through `RAY_ADDRESS`, always stopped."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.config import RayResources
from components.runtime.cluster import ADDRESS_VARIABLE, listen_on_loopback, start
from components.runtime.own_folder import OwnFolder

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"

# A Unix socket's path has at most 107 bytes, and Ray adds up to 65 to its folder, whose own name has 17.
LONGEST_FOLDER = 25
PREFIX = "mer-ray-"

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def ray_head(resources: RayResources) -> Iterator[str]:
    """Starts a Ray of `resources` as children of this process and yields its address.

    With `RAY_ADDRESS` set, that cluster is used and not stopped. Otherwise the address and a token for this run alone
    are put into the environment, where the stages inherit them, and removed at the end.
    Costs about ten seconds on two cores.

    Raises:
        UnavailableError: Ray did not start.
    """
    existing = os.environ.get(ADDRESS_VARIABLE)
    if existing:
        print(f"Ray: using the cluster at {existing}", file=sys.stderr)
        yield existing
        return
    variables = {**ENVIRONMENT, TOKEN_VARIABLE: secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in [*variables, ADDRESS_VARIABLE]}
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    listen_on_loopback()
    import ray  # after the environment is set: Ray reads it when it is imported

    begin = time.monotonic()
    folder = OwnFolder(PREFIX, parent=_parent())
    try:
        start(resources, logging_level="error", _temp_dir=str(folder.path))
        address = ray.get_runtime_context().gcs_address
        os.environ[ADDRESS_VARIABLE] = address
        print(f"Ray: started in {time.monotonic() - begin:.0f} s for the whole run", file=sys.stderr)
        yield address
    finally:
        ray.shutdown()
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
        folder.remove()


def _parent() -> Path:
    """Where a folder has a path short enough for Ray's sockets."""
    base = tempfile.gettempdir()
    return Path(base if len(base) <= LONGEST_FOLDER else "/tmp")
