"""`mer reconcile`: the loop between the registry and the service, and what it is made of."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.config import Params
from components.contracts.errors import UnavailableError
from components.contracts.layout import Layout
from components.runtime.local_http import answer_of
from components.tracking.client import impatient, without_progress_bars
from pipelines.commands.service import woken
from pipelines.commands.service.signals import signals
from pipelines.project import find_root, load

if TYPE_CHECKING:
    from components.rollout.reconcile import Reconciler
    from components.rollout.serve_control import ServeControl

REQUEST_TIMEOUT_S = 5.0
POLL_S = 0.3
# Requests per check: enough that with two replicas, chosen at random, one that still has the old version is detected.
CHECK_REQUESTS = 8
REMEMBERED = "served.json"
log = logging.getLogger("mer.rollout")


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

    prepare_environment()
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
        with ExitStack() as stack, signals(loop.stop):
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


def prepare_environment() -> None:
    """Sets variables of this process and the replicas. Few retries suffice: the loop's next step repeats a request."""
    without_progress_bars()
    impatient()
