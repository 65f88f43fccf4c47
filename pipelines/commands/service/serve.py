"""`mer serve`: the MLflow UI, the Ray Serve application and the loop that connects them."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.config import Params, Serving
from components.contracts.errors import ConfigError, MerError, UnavailableError
from components.contracts.layout import Layout
from components.runtime.children import confinement
from components.runtime.local_http import answer_of
from components.runtime.own_folder import OwnFolder
from pipelines.commands.service import woken
from pipelines.commands.service.janitor import nothing_left
from pipelines.commands.service.mlflow_server import free_port, mlflow_server, wait_ready
from pipelines.commands.service.reconciling import POLL_S, REQUEST_TIMEOUT_S, prepare_environment, reconciler_of
from pipelines.commands.service.shown import print_addresses, report, trouble
from pipelines.commands.service.signals import Stop, signals
from pipelines.commands.service.supervise import (
    LOOK_S,
    RayEndedError,
    Watch,
    ended_of_ray,
    start_everything_again,
    watch_serve,
)
from pipelines.project import find_root, load

if TYPE_CHECKING:
    from components.rollout.reconcile import Loop

READY_S = 180.0
# The longest wait for a step of the reconciler: Ray ends a process at once of which a thread asks it after the end.
STEP_S = 30.0
LOG = Path("logs") / "mlflow-server.log"
REQUESTS_LOG = Path("logs") / "requests.jsonl"
COUNTS = "mer-metrics-"


def run(*, service: bool = True, port: int | None = None, mlflow_port: int | None = None) -> None:
    """Serves until Ctrl-C: MLflow, and with `service` the application and the reconciler. A part that ends is started
    again (`supervise`).

    Args:
        service: whether to run the application too.
        port, mlflow_port: instead of the configured ones. A busy MLflow port falls back to a free one; a busy service
            port is an error, since clients depend on it.

    Raises:
        UnavailableError: a port is taken, or something does not start.
    """
    root = find_root()
    params, layout = load(root), Layout(root)
    if port is not None:
        params = params.model_copy(update={"serving": params.serving.model_copy(update={"port": port})})
    if service:
        _check_keys(params.serving, layout)
    serving_port = free_port(params.serving.port, "service", strict=True) if service else 0
    params = params.model_copy(update={"serving": params.serving.model_copy(update={"port": serving_port})})
    requested = params.serving.mlflow_port if mlflow_port is None else mlflow_port
    prepare_environment()
    stop = Stop()
    try:
        with nothing_left(), signals(stop), ExitStack() as stack:
            address, watch = _mlflow(stack, params, layout, requested)
            if service:
                _serve(stack, params, layout, address, watch=watch, stop=stop)
            else:
                wait_ready(address, layout.state / LOG)
                print(f"\nMLflow UI    {address}\nCtrl-C stops it.", flush=True)
            stop.starting = False
            while not stop.wait(LOOK_S):
                watch.look()
            print("\nStopping …", file=sys.stderr, flush=True)
    except RayEndedError as error:
        report("trouble", f"{error}; starting everything again")
        start_everything_again(str(error))


def _check_keys(serving: Serving, layout: Layout) -> None:
    """Raises ConfigError where the service would listen beyond this machine and nobody has a key."""
    from components.serving.http.access import is_loopback
    from components.serving.http.api_keys import KeyFile

    if is_loopback(serving.host) or KeyFile.of(layout.api_keys).listed():
        return
    raise ConfigError(
        "the service would listen beyond this machine, and there are no API keys",
        where="serving.host",
        seen=serving.host,
        allowed="127.0.0.1, or any address once there is a key",
        remedy="`mer keys create NAME` makes one.",
    )


def _mlflow(stack: ExitStack, params: Params, layout: Layout, port: int) -> tuple[str, Watch]:
    """The address of MLflow: the one in the environment, or that of a server started here; and what watches it."""
    from components.tracking.address import is_server, tracking_uri

    uri = tracking_uri(params.tracking, layout.root)
    if is_server(uri):
        print(f"MLflow: using the server at {uri}", file=sys.stderr)
        return uri, Watch(report=trouble)
    chosen = free_port(port, "MLflow UI", strict=False)
    log = layout.state / LOG
    print("MLflow: starting …", file=sys.stderr, flush=True)
    server = stack.enter_context(
        mlflow_server(
            store_uri=uri,
            artifacts=layout.root / params.tracking.artifacts,
            port=chosen,
            log=log,
            variables=woken.server_variables(params, layout),
        )
    )
    if port and chosen != port:
        print(f"MLflow: port {port} is taken, using {chosen}", file=sys.stderr)
    return server.address, Watch(report=trouble, mlflow=server)


def _register_starter(params: Params, layout: Layout) -> None:
    """The starter as the first version of a model that has none, so that there is something to serve; that MLflow does
    not answer is said, and what was served goes on."""
    if not params.registry.starter:
        return
    from components.registry.starter import register_first

    name, alias = params.registry.model_name, params.rollout.alias
    try:
        first = register_first(name=name, alias=alias, tracking=params.tracking, root=layout.root)
    except MerError as error:
        trouble(f"the starter could not be registered: {error}")
        return
    if first is not None:
        print(
            f"Registry: {name} had no version; the starter that comes with mer is its version {first.version} now, "
            f"with the alias {alias!r}",
            file=sys.stderr,
            flush=True,
        )


def _serve(stack: ExitStack, params: Params, layout: Layout, address: str, *, watch: Watch, stop: Stop) -> None:
    from components.runtime.cluster import ADDRESS_VARIABLE
    from components.serving.http.api_keys import KeyFile
    from components.serving.http.gateway import environment
    from components.serving.http.observed import LOG_VARIABLE
    from pipelines.ray_head import ray_head

    counts = OwnFolder(COUNTS)
    stack.callback(counts.remove)
    os.environ.setdefault(LOG_VARIABLE, str(layout.state / REQUESTS_LOG))
    keys = KeyFile.of(layout.api_keys).path.resolve()
    os.environ.update(environment(params.serving, counts=counts.path, keys=keys))  # for the proxies, which Ray starts
    shared = bool(os.environ.get(ADDRESS_VARIABLE))
    print("Ray: starting …", file=sys.stderr, flush=True)
    stack.enter_context(ray_head(params.ray))
    watch.ray = ended_of_ray
    stack.callback(lambda: _end_service(watch, starting=stop.starting and not shared))
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    for what in confinement.lacking():
        trouble(what)
    if watch.mlflow is not None:
        try:
            wait_ready(address, layout.state / LOG)
        except UnavailableError as error:  # the service answers without it
            trouble(str(error))
    wake = threading.Event()
    woken.listen(stack, params, layout, wake, mlflow=address, own=watch.mlflow is not None, report=trouble)
    _register_starter(params, layout)
    from components.rollout.reconcile import Loop

    control, reconciler = reconciler_of(params, layout, address)
    loop = Loop(
        reconciler=reconciler,
        poll_s=params.rollout.poll_s,
        on_action=lambda action: report(action.kind, action.reason),
        on_error=lambda text: report("trouble", text),
        wake=wake,
    )
    worker = threading.Thread(target=loop.run, name="reconciler", daemon=True)
    worker.start()
    stack.callback(_end_loop, loop, worker)
    if _wait_service(control.url, stop, watch):
        print_addresses(params, layout, address, control.url)
    threading.Thread(target=watch_serve, args=(control.parts, trouble, stop), daemon=True).start()


def _end_loop(loop: Loop, worker: threading.Thread) -> None:
    loop.halt()
    worker.join(timeout=STEP_S)


def _end_service(watch: Watch, *, starting: bool) -> None:
    """Lets requests in flight finish; other applications on a shared cluster stay. While a Ray of its own is starting
    there are none, and it ends as a whole."""
    if watch.ray_ended or starting:
        return
    from ray import serve

    from components.rollout.serve_control import APPLICATION

    with suppress(Exception):  # Ray may have ended already
        serve.delete(APPLICATION)


def _wait_service(url: str, stop: threading.Event, watch: Watch) -> bool:
    """Waits until a replica answers; False when `stop` came first. Raises UnavailableError, and as `Watch.look`."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if stop.wait(POLL_S):
            return False
        watch.look()
        if answer_of(f"{url}/healthz", timeout_s=REQUEST_TIMEOUT_S) is not None:
            return True
    raise UnavailableError(
        "the service did not start", where=url, remedy="Try again when other work leaves it a processor."
    )
