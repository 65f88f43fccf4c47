"""The Ray of a run: connect to a running cluster, or start a small local one."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from components.contracts.config import RayResources
from components.contracts.errors import UnavailableError

ADDRESS_VARIABLE = "RAY_ADDRESS"
ANSWER_S = 10.0  # Ray itself waits for minutes where nothing listens
BYTES_PER_MB = 1 << 20
# Nobody looks at a dashboard here, so Ray's own processes need not measure the machine every five seconds, nor look for
# new logs ten times a second.
IDLE = {"REPORTER_UPDATE_INTERVAL_MS": "60000", "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0"}
# Whoever reaches Ray's ports can run code. A Ray that can have no second node listens on loopback alone; its switch is
# called after the systems on which that is the default. Ray reads it when it is imported.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def connect(resources: RayResources) -> None:
    """Connects this process to Ray; does nothing when it is already connected.

    `RAY_ADDRESS` names a running cluster (`mer run` sets it for its stages, a KubeRay job has it); without it a local
    Ray with `resources.num_cpus` and `resources.object_store_mb` starts, and ends with this process.

    Raises:
        UnavailableError: the cluster does not answer, or Ray did not start.
    """
    if not os.environ.get(ADDRESS_VARIABLE):
        listen_on_loopback()
    import ray  # here, since importing Ray takes seconds, which light commands should not spend

    if ray.is_initialized():
        return
    if address := os.environ.get(ADDRESS_VARIABLE):
        try:
            _knock(address)
            ray.init(address="auto", log_to_driver=False, logging_level="warning")
        except Exception as error:  # see `start`
            raise UnavailableError(
                "this Ray cluster does not answer",
                where=f"{ADDRESS_VARIABLE}={address}",
                seen=_line(error),
                remedy=f"Start it, correct the address, or unset {ADDRESS_VARIABLE} to start a small Ray here.",
            ) from error
        return
    start(resources, logging_level="warning")


def _knock(address: str) -> None:
    """Raises OSError if nothing listens at a `host:port`; other forms of an address are left to Ray."""
    host, _, port = address.rpartition(":")
    if host and "://" not in address and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()


def listen_on_loopback() -> None:
    """Makes a Ray that this process starts listen there alone. Ray reads the switch when it is imported: after that it
    is left as it is, since its processes must agree."""
    if "ray" not in sys.modules:
        os.environ.update(LOOPBACK)


def start(resources: RayResources, **options: Any) -> None:
    """Starts a local Ray with these resources and connects this process to it.

    Raises:
        UnavailableError: its processes did not start within Ray's limit of 30 s, for which Ray 2.60 has no setting.
    """
    for name, value in IDLE.items():
        os.environ.setdefault(name, value)  # read by the processes that Ray starts
    import ray

    try:
        ray.init(
            address="local",  # also beside a Ray that somebody has started on this machine
            num_cpus=resources.num_cpus,
            object_store_memory=resources.object_store_mb * BYTES_PER_MB,
            include_dashboard=False,
            log_to_driver=False,
            **options,
        )
    except Exception as error:  # Ray raises plain Exception where its processes start too late
        raise UnavailableError(
            "Ray did not start",
            where="this machine",
            seen=_line(error),
            remedy=f"Try again when other work leaves it a processor and memory (ray.object_store_mb is "
            f"{resources.object_store_mb}), or set {ADDRESS_VARIABLE} to a running cluster.",
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
