"""The Ray Serve deployment: one process (and its children, which decode and encode) with one `Service`, whose version
Serve changes in place.

`user_config` names the version; Serve calls `reconfigure` when it changes. If that raises, Serve removes this replica
and the others keep the old version; the reconciler then restores the old `user_config`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve import Application

from components.contracts.config import Rollout, Serving, section_error
from components.registry.keys import TrustedKeys
from components.runtime.local_http import bypass_proxies
from components.serving.http.access import is_loopback
from components.serving.http.app import create_app
from components.serving.published import Publisher
from components.serving.service import BatchSettings, Service, ServiceSettings

DEPLOYMENT = "Replica"
IMPORT_PATH = "components.serving.replica:build"
# A version may need minutes to download on a slow link; a replica that hangs longer is replaced.
HEALTH_PERIOD_S = 5.0
HEALTH_TIMEOUT_S = 30.0
SHUTDOWN_TIMEOUT_S = 20.0
# Of all kinds, at one replica. Predictions have their own limits (`admission.py`), so that health checks and questions
# for the version never wait behind them in a queue of Serve.
MAX_CONNECTIONS = 1000
# How much longer than a request of its own accord Serve waits before it ends it.
BACKSTOP_S = 30.0


class ReplicaArgs(BaseModel):
    """The arguments of the application, the same for every version. Changing one restarts the replicas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    serving: Serving
    cache: str
    golden_tolerance: float
    alias: str = Field(default_factory=lambda: Rollout().alias)
    device: str = "cpu"
    # The public keys to trust; none: those of the environment, or of the project whose folder of the key is `signing`.
    trusted_keys: tuple[str, ...] = ()
    signing: str | None = None
    # The folder for jobs of many clips, which all replicas must share; without one there are none.
    batches: str | None = None


@serve.ingress()
class Replica:
    """One serving process."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        import torch

        _listen_as_ray_does()
        bypass_proxies()  # a replica's environment is its Ray's, which may have been started elsewhere
        settings = ReplicaArgs.model_validate(dict(args))
        # The service scales by replicas; several threads per model would only compete for the same cores.
        torch.set_num_threads(1)
        self._service = Service(
            ServiceSettings(
                cache=Path(settings.cache),
                limits=settings.serving.upload_limits,
                golden_tolerance=settings.golden_tolerance,
                alias=settings.alias,
                keys=TrustedKeys.of(settings.trusted_keys, Path(settings.signing) if settings.signing else None),
                wall_s=settings.serving.request_timeout_s,
                at_once=settings.serving.max_ongoing_requests,
                waiting=math.ceil(settings.serving.max_queued_requests / settings.serving.replicas),
                device=settings.device,
                adaptation=None if settings.serving.adaptation is None else Path(settings.serving.adaptation),
                batches=BatchSettings.of(settings.serving, Path(settings.batches) if settings.batches else None),
            ),
            replica=serve.get_replica_context().replica_id.unique_id,
        )
        context = serve.get_replica_context()
        self._publisher = Publisher(context.app_name, self._service.replica, self._service.trial_counts)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The routes; Serve calls this once after the constructor."""
        return create_app(self._service)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Changes to the version in `user_config`, in a thread: requests and health checks go on meanwhile."""
        await asyncio.to_thread(self._service.load, user_config)


def _listen_as_ray_does() -> None:
    """Serve opens a port in each replica, for calls between deployments, on every address of the machine, and calls
    this class before it does. Where Ray itself stays on loopback, so does that port."""
    if not is_loopback(ray.util.get_node_ip_address()):
        return
    from ray._common.tls_utils import add_port_to_grpc_server
    from ray.serve._private import replica

    def on_loopback(server: Any, address: str) -> int:
        return int(add_port_to_grpc_server(server, f"127.0.0.1:{address.rpartition(':')[2]}"))

    replica.add_port_to_grpc_server = on_loopback


def build(args: Mapping[str, Any]) -> Application:
    """The application, for Serve's configuration (`import_path`). Raises ConfigError on unknown arguments."""
    try:
        checked = ReplicaArgs.model_validate(dict(args))
    except ValidationError as error:
        raise section_error(error, ReplicaArgs, where="args") from error
    deployment = serve.deployment(
        Replica,
        name=DEPLOYMENT,
        num_replicas=checked.serving.replicas,
        max_ongoing_requests=MAX_CONNECTIONS,
        ray_actor_options={"num_cpus": checked.serving.replica_cpus},
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=SHUTDOWN_TIMEOUT_S,
    )
    return deployment.bind(checked.model_dump(mode="json"))
