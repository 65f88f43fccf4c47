"""`mer serve` and `mer reconcile`: the MLflow UI, the Ray Serve application and the loop that connects them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.config import Params, Serving
from components.contracts.errors import ConfigError, MerError, UnavailableError
from components.contracts.layout import Layout
from components.runtime import confinement
from components.runtime.local_http import answer_of
from components.runtime.own_folder import OwnFolder
from components.tracking.client import impatient, without_progress_bars
from pipelines.commands.service import woken
from pipelines.commands.service.janitor import nothing_left
from pipelines.commands.service.mlflow_server import free_port, mlflow_server, wait_ready
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
    from components.rollout.reconcile import Loop, Reconciler
    from components.rollout.serve_control import ServeControl

INTERRUPTS = 2
READY_S = 180.0
REQUEST_TIMEOUT_S = 5.0
# The longest wait for a step of the reconciler: Ray ends a process at once of which a thread asks it after the end.
STEP_S = 30.0
POLL_S = 0.3
# Requests per check: enough that with two replicas, chosen at random, one that still has the old version is detected.
CHECK_REQUESTS = 8
LOG = Path("logs") / "mlflow-server.log"
REQUESTS_LOG = Path("logs") / "requests.jsonl"
COUNTS = "mer-metrics-"
REMEMBERED = "served.json"
EVENTS = ("deploy", "confirm", "refuse")
log = logging.getLogger("mer.rollout")


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
    _prepare_environment()
    stop = Stop()
    try:
        with nothing_left(), _signals(stop), ExitStack() as stack:
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
        _report("trouble", f"{error}; starting everything again")
        start_everything_again(str(error))


def reconcile(
    *, once: bool = False, attach: bool = False, heartbeat: Path | None = None, webhook: str | None = None
) -> None:
    """The reconciler alone, against a Ray that runs elsewhere (`RAY_ADDRESS`).

    Args:
        once: a single pass that ends when there is nothing left to do, instead of a loop.
        attach: the application is declared elsewhere (a RayService); only its version is changed.
        heartbeat: a file that the loop touches after every successful step, for a liveness probe.
        webhook: `HOST:PORT` at which it listens, instead of `rollout.webhook_host` and `rollout.webhook_port`.

    Raises:
        ConfigError: `webhook` is not an address.
        UnavailableError: there is no Ray, or MLflow or Serve cannot be reached.
    """
    if not os.environ.get("RAY_ADDRESS"):
        raise UnavailableError(
            "there is no Ray to serve on",
            where="RAY_ADDRESS",
            remedy="Set it to the cluster's address; on one machine `mer serve` runs Ray and the reconciler together.",
        )
    from components.runtime.cluster import connect
    from components.tracking.address import tracking_uri

    _prepare_environment()
    root = find_root()
    params, layout = load(root), Layout(root)
    if webhook is not None:
        params = woken.listening_at(params, webhook)
    connect(params.ray)
    _, reconciler = reconciler_of(params, layout, tracking_uri(params.tracking, root), attach=attach)
    if not once:
        from components.rollout.figures import Figures, read_figures
        from components.rollout.reconcile import Loop

        names = {"registered": params.registry.model_name, "served": params.served_model, "alias": params.rollout.alias}
        figures = Figures(read=lambda: read_figures(**names, tracking_uri=reconciler.tracking_uri))

        def on_action(_: object) -> None:
            figures()
            if heartbeat is not None:
                heartbeat.touch()

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        loop = Loop(
            reconciler=reconciler,
            poll_s=params.rollout.poll_s,
            on_action=on_action,
        )
        with ExitStack() as stack, _signals(loop.stop):
            address = reconciler.tracking_uri
            woken.listen(stack, params, layout, loop.wake, mlflow=address, own=False, report=log.warning)
            loop.run()
        return
    while True:
        action = reconciler.reconcile_once()
        print(f"{action.kind}: {action.reason}", flush=True)
        if action.kind == "keep":
            return
        time.sleep(POLL_S)


def reconciler_of(
    params: Params, layout: Layout, address: str, *, attach: bool = False
) -> tuple[ServeControl, Reconciler]:
    """The reconciler of a configuration; `address` is MLflow's, `attach` as for `ServeControl`. This process must be
    connected to Ray."""
    from components.registry.keys import TrustedKeys
    from components.rollout.reconcile import Reconciler
    from components.rollout.serve_control import ServeControl
    from components.rollout.versions import MlflowVersions

    cache, tolerance = layout.state / "bundles", params.rollout.golden_tolerance
    alias, keys = params.rollout.alias, TrustedKeys.of(params.rollout.trusted_keys, layout.signing)
    on_trial = params.rollout.shadow or params.rollout.canary_share > 0
    control = ServeControl(
        params.serving,
        cache=cache,
        golden_tolerance=tolerance,
        alias=alias,
        keys=keys,
        attach=attach,
        batches=layout.batches,
    )
    reconciler = Reconciler(
        versions=MlflowVersions(
            model_name=params.served_model,
            alias=alias,
            tracking_uri=address,
            challenger_alias=params.rollout.challenger if on_trial else "",
        ),
        control=control,
        tracking_uri=address,
        cache=cache,
        keys=keys,
        golden_tolerance=tolerance,
        remembered=layout.state / REMEMBERED,
        answering=lambda: answering(control.url),
        rollout=params.rollout,
    )
    return control, reconciler


def answering(url: str) -> set[str]:
    """The versions that a service reports over several requests; a failed request counts as ""."""
    versions = set()
    for _ in range(CHECK_REQUESTS):
        answer = answer_of(f"{url}/v1/version", timeout_s=REQUEST_TIMEOUT_S)
        try:
            versions.add("" if answer is None else str(answer.json()["version"]))
        except (ValueError, KeyError):
            versions.add("")
    return versions


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


def _prepare_environment() -> None:
    """Sets variables of this process and the replicas. Few retries suffice: the loop's next step repeats a request."""
    without_progress_bars()
    impatient()


class Stop(threading.Event):
    """Set by the first signal. While things are starting, which nothing else could interrupt, that signal is an
    interrupt."""

    starting = True


def _mlflow(stack: ExitStack, params: Params, layout: Layout, port: int) -> tuple[str, Watch]:
    """The address of MLflow: the one in the environment, or that of a server started here; and what watches it."""
    from components.tracking.address import is_server, tracking_uri

    uri = tracking_uri(params.tracking, layout.root)
    if is_server(uri):
        print(f"MLflow: using the server at {uri}", file=sys.stderr)
        return uri, Watch(report=_trouble)
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
    return server.address, Watch(report=_trouble, mlflow=server)


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
        _trouble(f"the starter could not be registered: {error}")
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
    if not confinement.available():
        _trouble("this kernel has no Landlock: the process that opens uploads is not confined to them")
    if watch.mlflow is not None:
        try:
            wait_ready(address, layout.state / LOG)
        except UnavailableError as error:  # the service answers without it
            _trouble(str(error))
    wake = threading.Event()
    woken.listen(stack, params, layout, wake, mlflow=address, own=watch.mlflow is not None, report=_trouble)
    _register_starter(params, layout)
    from components.rollout.reconcile import Loop

    control, reconciler = reconciler_of(params, layout, address)
    loop = Loop(
        reconciler=reconciler,
        poll_s=params.rollout.poll_s,
        on_action=lambda action: _report(action.kind, action.reason),
        on_error=lambda text: _report("trouble", text),
        wake=wake,
    )
    worker = threading.Thread(target=loop.run, name="reconciler", daemon=True)
    worker.start()
    stack.callback(_end_loop, loop, worker)
    if _wait_service(control.url, stop, watch):
        _print_addresses(params, layout, address, control.url)
    threading.Thread(target=watch_serve, args=(control.parts, _trouble, stop), daemon=True).start()


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


def _report(kind: str, reason: str) -> None:
    if kind in (*EVENTS, "trouble"):
        print(f"{time.strftime('%H:%M:%S')}  {kind}: {reason}", file=sys.stderr, flush=True)


def _trouble(text: str) -> None:
    _report("trouble", text)


def _served(params: Params, layout: Layout, mlflow: str) -> str:
    from pipelines.served import served_line

    try:
        served = served_line(params, layout, uri=mlflow)
    except MerError as error:
        return f"not known: {error.what}"
    return served or f"nothing until a version has the alias {params.rollout.alias!r}"


def _print_addresses(params: Params, layout: Layout, mlflow: str, service: str) -> None:
    from components.serving.http.access import is_loopback

    alias, name = params.rollout.alias, params.served_model
    needs_key = params.serving.require_key or not is_loopback(params.serving.host)
    key = '-H "Authorization: Bearer $KEY" ' if needs_key else ""
    print(
        f"""
Serves       {_served(params, layout, mlflow)}
MLflow UI    {mlflow}   move the alias {alias!r} of model {name!r} to change what is served
Service      {service}   open it and drop a clip there
API          {service}/docs
Try          curl {key}-F clip=@clip.mp4 {service}/v1/predict

Ctrl-C stops everything.""",
        flush=True,
    )


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop` instead of interrupting a child's shutdown; a second one ends at once, and so does
    the first while things are starting. After `INTERRUPTS` of these nothing interrupts what ends the processes."""
    left = INTERRUPTS

    def on_signal(number: int, frame: object) -> None:
        nonlocal left
        again = stop.is_set()
        stop.set()
        if left and (again or getattr(stop, "starting", False)):
            left -= 1
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
