"""The table of parts: what runs, in which order, and how one sees that it does. `infra/compose.yaml` has the same."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.contracts.config import Serving
from components.runtime.local_http import answer_of
from pipelines.commands.service.mlflow_server import HOST
from pipelines.stack import mlflow, postgres, prometheus
from pipelines.stack.place import BUCKET, DVC_BUCKET, REGION, Stack

TIMEOUT_S = 5.0


def _nothing_missing() -> str | None:
    return None


def _same_user() -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part.

    Attributes:
        name: also of its log.
        command: what starts it; may prepare something first.
        environment: its variables.
        ready: whether it does its work.
        missing: what to do where it cannot run here; None where it can.
        optional: whether the stack runs without it.
        user: under whom it runs, where that is not this process's user.
        stop: the signal that ends it in order.
        start_s: how long it may take to be ready, in seconds.
    """

    name: str
    command: Callable[[Stack], Sequence[str]]
    environment: Callable[[Stack], dict[str, str]] = Stack.environment
    ready: Callable[[Stack], bool]
    missing: Callable[[], str | None] = _nothing_missing
    optional: bool = False
    user: Callable[[], str | None] = _same_user
    stop: signal.Signals = signal.SIGTERM
    start_s: float = 600.0


def _s3(stack: Stack) -> list[str]:
    return [sys.executable, "-m", "moto.server", "--host", HOST, "--port", str(stack.ports["s3"])]


def _buckets(stack: Stack) -> bool:
    """Whether the object store answers; makes the buckets."""
    from pyarrow.fs import S3FileSystem

    store = S3FileSystem(
        access_key=stack.secrets["bucket key"],
        secret_key=stack.secrets["bucket secret"],
        endpoint_override=f"{HOST}:{stack.ports['s3']}",
        scheme="http",
        region=REGION,
        allow_bucket_creation=True,
        request_timeout=TIMEOUT_S,
        connect_timeout=TIMEOUT_S,
    )
    try:
        for bucket in (BUCKET, DVC_BUCKET):
            store.create_dir(bucket)
    except OSError:
        return False
    return True


def _ray(stack: Stack) -> list[str]:
    metrics = [str(stack.ports[f"ray metrics {number}"]) for number in (1, 2)]
    folder = stack.folder / "ray"
    folder.mkdir(exist_ok=True)
    return [
        sys.executable, "-m", "pipelines.stack.ray_nodes",
        "--port", str(stack.ports["ray"]), "--metrics-ports", *metrics, "--folder", str(folder),
    ]  # fmt: skip


def _ray_environment(stack: Stack) -> dict[str, str]:
    """Serve's proxies and replicas are processes of Ray and get what they need through it."""
    from components.serving.http.gateway import environment
    from components.serving.http.observed import LOG_VARIABLE

    serving = Serving(require_key=True, port=stack.ports["service"], replicas=2)
    gateway = environment(serving, counts=stack.folder / "counts", keys=stack.keys)
    return {**stack.client, **gateway, LOG_VARIABLE: str(stack.logs / "requests.jsonl")}


def _two_nodes(stack: Stack) -> bool:
    return "two nodes" in (stack.logs / "ray.log").read_text()


def _reconciler(stack: Stack) -> list[str]:
    beat = str(stack.folder / "reconciler")
    return [sys.executable, "-m", "pipelines.cli", "reconcile", "--heartbeat", beat]


def _answers(stack: Stack) -> bool:
    """Whether the service answers, which the reconciler has Ray start."""
    return answer_of(f"{stack.url('service')}/healthz", timeout_s=TIMEOUT_S) is not None


PARTS = (
    Part(
        name="postgres",
        command=postgres.command,
        ready=postgres.ready,
        missing=postgres.missing,
        user=postgres.user,
        stop=signal.SIGINT,  # its "fast" shutdown: clients are sent away
    ),
    Part(name="s3", command=_s3, ready=_buckets),
    Part(name="mlflow", command=mlflow.command, environment=mlflow.environment, ready=mlflow.ready),
    Part(name="ray", command=_ray, environment=_ray_environment, ready=_two_nodes),
    Part(
        name="prometheus",
        command=prometheus.command,
        ready=prometheus.ready,
        missing=prometheus.missing,
        optional=True,
    ),
    Part(name="reconciler", command=_reconciler, environment=lambda stack: stack.client, ready=_answers),
)
