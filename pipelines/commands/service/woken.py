"""What wakes the reconciler at once where it listens (`rollout.webhook_port`, `mer reconcile --webhook`): MLflow's
webhook, or `mer promote`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from components.contracts.config import Params
from components.contracts.errors import ConfigError, MerError
from components.contracts.layout import Layout
from pipelines.project import find_root, load

if TYPE_CHECKING:
    import threading

NUDGE_S = 2.0
LISTEN_VARIABLE = "MER_WEBHOOK_LISTEN"
PORTS = 65536


def server_variables(params: Params, layout: Layout) -> Mapping[str, str]:
    """The variables of an MLflow that is started here, so that it can send to this machine. Raises ConfigError."""
    if params.rollout.webhook_port is None:
        return {}
    from components.rollout.webhook import secret_of
    from components.tracking.webhooks import server_variables as variables

    return variables(secret_of(layout.webhook_secret))


def listen(
    stack: ExitStack,
    params: Params,
    layout: Layout,
    wake: threading.Event,
    *,
    mlflow: str,
    own: bool,
    report: Callable[[str], None],
) -> None:
    """Listens until `stack` is left, and registers the webhook; without `rollout.webhook_port` nothing.

    Args:
        wake: set at each message.
        mlflow: the server's address.
        own: whether that server was started here, with `server_variables`.
        report: says that the webhook could not be registered: what is promoted is then seen at the next look.

    Raises:
        ConfigError: the secret cannot be read.
        UnavailableError: the port is taken.
    """
    if params.rollout.webhook_port is None:
        return
    from components.rollout.webhook import secret_of
    from components.rollout.webhook_server import listening
    from components.tracking.webhooks import ensure_webhook

    rollout, secret = params.rollout, secret_of(layout.webhook_secret)
    port = rollout.webhook_port or 0
    address = stack.enter_context(listening(secret, wake.set, host=rollout.webhook_host, port=port))
    url = rollout.webhook_url or (address if own else "")
    if not url:
        return
    try:
        ensure_webhook(params.served_model, url, secret, tracking_uri=mlflow)
    except MerError as error:
        report(f"MLflow has no webhook, so the alias is looked at every {rollout.poll_s:g} s: {error}")


def listening_at(params: Params, address: str) -> Params:
    """The configuration with an address, `HOST:PORT`, at which the reconciler listens. Raises ConfigError: not one."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < PORTS:
        raise ConfigError(
            "this is not an address to listen at",
            where=f"--webhook, {LISTEN_VARIABLE}",
            seen=address,
            allowed=f"HOST:PORT, such as 0.0.0.0:5001; ports below {PORTS}",
        )
    rollout = params.rollout.model_copy(update={"webhook_host": host.strip("[]"), "webhook_port": int(port)})
    return params.model_copy(update={"rollout": rollout})


def register(url: str) -> str:
    """Makes the webhook of the served model at MLflow, or gives it this address and the project's secret; says so.

    Args:
        url: by which MLflow reaches the receiver.

    Raises:
        ConfigError: MLflow is no server, or the secret cannot be read.
        UnavailableError, ModelError: as `ensure_webhook`.
    """
    from components.rollout.webhook import secret_of
    from components.tracking.address import is_server, tracking_uri
    from components.tracking.webhooks import ensure_webhook

    root = find_root()
    params = load(root)
    mlflow = tracking_uri(params.tracking, root)
    if not is_server(mlflow):
        raise ConfigError(
            "only a server of MLflow sends webhooks",
            where="tracking.uri, MLFLOW_TRACKING_URI",
            seen=mlflow,
            remedy="Name the server; `mer serve` registers the webhook at the one it starts.",
        )
    ensure_webhook(params.served_model, url, secret_of(Layout(root).webhook_secret), tracking_uri=mlflow)
    return f"{mlflow} tells {url} of aliases of {params.served_model} that move"


def nudge(params: Params, layout: Layout) -> None:
    """Wakes a reconciler of this project on this machine, if one listens at a fixed port: an alias that is moved in the
    file of the store, without its server, sends no webhook."""
    rollout = params.rollout
    if not rollout.webhook_port:
        return
    import httpx

    from components.rollout.webhook import secret_of, signed_headers

    try:
        headers = signed_headers(b"", secret_of(layout.webhook_secret), now=time.time())
        host = "127.0.0.1" if rollout.webhook_host in ("0.0.0.0", "::") else rollout.webhook_host
        httpx.post(f"http://{host}:{rollout.webhook_port}", headers=headers, timeout=NUDGE_S, trust_env=False)
    except (MerError, httpx.HTTPError):
        return  # nobody listens; the alias is seen at the next look
