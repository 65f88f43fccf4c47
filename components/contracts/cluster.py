"""One Ray for a whole run: connect to the one that is there, or start a small one of our own."""

from __future__ import annotations

import os

from components.contracts.config import RayResources

BYTES_PER_MB = 1 << 20


def connect(resources: RayResources) -> None:
    """Connects this process to Ray; does nothing when it is connected.

    `RAY_ADDRESS` names a running cluster (`mer run` sets it for its stages, a KubeRay job has it); without it a local
    Ray of `resources.num_cpus` and `resources.object_store_mb` starts and ends with this process.
    """
    import ray  # importing Ray takes seconds; light commands never come here

    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", log_to_driver=False, logging_level="warning")
        return
    ray.init(
        num_cpus=resources.num_cpus,
        object_store_memory=resources.object_store_mb * BYTES_PER_MB,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="warning",
    )
